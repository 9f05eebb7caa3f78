"""What the API is asked and answers, as its OpenAPI description states it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Asked(BaseModel):
    """How a picture is looked at; a misspelt parameter is refused."""

    model_config = ConfigDict(extra="forbid")

    crop: Literal["face", "whole"] = Field("face", description="face: find the faces. whole: the picture is one face.")


class Face(BaseModel):
    """One face and the expression it shows."""

    box: tuple[float, float, float, float] = Field(description="x, y, width, height in pixels of the upright picture")
    landmarks: list[tuple[float, float]] | None = Field(
        description="eyes, nose and corners of the mouth; null where the detector gives none"
    )
    score: float | None = Field(description="the detector's, 0 to 1; null for crop=whole")
    expression: str
    confidence: float = Field(description="the probability of the expression")
    probabilities: dict[str, float] = Field(description="by expression; they sum to one")
    uncertain: bool = Field(
        description="whether the highest probability is below the model's threshold, or the model has none"
    )


class Answer(BaseModel):
    """The faces of one picture, largest first."""

    model: str = Field(description="the model's name and the digest of its file")
    width: int
    height: int
    faces: list[Face]


class About(BaseModel):
    """The model that answers."""

    model: str
    detector: str | None = Field(description="what finds faces")
    labels: tuple[str, ...]
    licence: str
    training_data: str
    uncertain_below: float | None
    figures: dict[str, Any]
    limit: int = Field(description="bytes that a picture may have")
    max_pixels: int = Field(description="pixels that a picture may have")
    meaning: str = (
        "An expression is what a face shows in a picture. It does not measure what a person feels, thinks or intends."
    )


class Refused(BaseModel):
    """Why there is no answer."""

    error: str
