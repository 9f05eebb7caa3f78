"""What a recipe says of augmentation, network and fit: checked without the libraries that carry it out."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Mining = Literal["batch-hard", "semi-hard"]
Optimiser = Literal["adam", "sgd", "rmsprop"]
Readout = Literal["centroid", "neighbours", "linear"]

SHORTCUTS: Mapping[str, str] = {
    "vgg16": "vgg16",
    "vgg19": "vgg19",
    "resnet50": "resnet50",
    "mobilenetv3-large": "mobilenetv3_large_100",
}
"""Names people use, and timm's name for each."""

FAMILIAR = frozenset(("mien-large", "mien-base", "mien-small", "mien-tiny", *SHORTCUTS))
"""Names of backbones that are known to be good without a look at the networks."""


class Augment(BaseModel):
    """What may happen to a training picture; every amount is the largest one, drawn evenly from -amount to +amount.

    `rotation` and `shear` are degrees, `shift_x` and `shift_y` fractions of the picture, `zoom` a fraction of its
    scale, `brightness` a fraction of full white, `contrast` a fraction of the picture's own contrast, `erasing` the
    chance of a blanked rectangle (Zhong et al. 2020), `flip_horizontal` and `flip_vertical` chances, `mixup` and
    `cutmix` the alpha of their beta distributions (Zhang et al. 2018; Yun et al. 2019; 0 is off), `fill` what stands
    outside the picture. `noise` is the largest standard deviation of Gaussian noise as a fraction of full white, drawn
    evenly from 0 for a random half of each batch; teachers see the picture without it (Xie et al. 2020,
    "Self-training with Noisy Student").
    The names of Keras' `ImageDataGenerator` are accepted too (`rotation_range`, `width_shift_range`, ...), a
    `zoom_range` and a `brightness_range` as pairs when 1 is their middle. Keras multiplies by its brightness; here the
    same amount is a share of full white that is added.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rotation: float = Field(0, ge=0, le=180)
    shift_x: Fraction = 0
    shift_y: Fraction = 0
    shear: float = Field(0, ge=0, lt=90)
    zoom: float = Field(0, ge=0, lt=1)
    flip_horizontal: Fraction = 0
    flip_vertical: Fraction = 0
    brightness: Fraction = 0
    contrast: Fraction = 0
    erasing: Fraction = 0
    mixup: float = Field(0, ge=0)
    cutmix: float = Field(0, ge=0)
    noise: Fraction = 0
    fill: Literal["nearest", "reflect", "constant"] = "nearest"

    @model_validator(mode="before")
    @classmethod
    def _from_keras(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        names = {
            "rotation_range": "rotation", "width_shift_range": "shift_x", "height_shift_range": "shift_y",
            "shear_range": "shear", "zoom_range": "zoom", "fill_mode": "fill",
        }  # fmt: skip
        flips = {"horizontal_flip": "flip_horizontal", "vertical_flip": "flip_vertical"}
        for theirs, ours in (names | {"brightness_range": "brightness"} | flips).items():
            if theirs in given and ours in given:
                raise ValueError(f"{theirs} and {ours} are the same setting: give one of them")
        named = {names.get(key, key): value for key, value in given.items()}
        if isinstance(named.get("zoom"), list | tuple):
            named["zoom"] = _around_one("zoom_range", named["zoom"])
        if "brightness_range" in named:
            named["brightness"] = _around_one("brightness_range", named.pop("brightness_range"))
        for theirs, ours in flips.items():
            if theirs in named:
                if not isinstance(asked := named.pop(theirs), bool):
                    raise ValueError(f"{theirs} is true or false, given: {asked}; {ours} takes a chance")
                named[ours] = 0.5 if asked else 0.0
        return named

    @property
    def moves(self) -> bool:
        """Whether any geometric change is asked for."""
        return any(
            (self.rotation, self.shift_x, self.shift_y, self.shear, self.zoom, self.flip_horizontal, self.flip_vertical)
        )


class Model(BaseModel):
    """Which network, and what it starts from.

    `backbone` is `mien-large`, `mien-base`, `mien-small`, `mien-tiny`, a shortcut (vgg16, vgg19, resnet50,
    mobilenetv3-large) or any name of timm.
    `head` lists the widths of hidden layers before the output, each followed by ReLU and `dropout`.
    Raises UsageError for a backbone that nobody knows.
    `transfer`: `scratch` starts at random; the others start from `weights` and train everything (`full`), all but the
    first `freeze` share of the backbone's parameters (`partial`), or the head alone (`frozen`); a frozen layer's
    batch-norm statistics stay too. `weights` is `hub` (timm's ImageNet weights), a bundle (the name of a shipped one or
    a file .onnx), a file (.safetensors, .pt, .pth, .ckpt) or the folder of an earlier run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = "mien-small"
    head: tuple[Annotated[int, Field(gt=0)], ...] = ()
    dropout: float = Field(0.2, ge=0, lt=1)
    transfer: Literal["scratch", "partial", "full", "frozen"] = "scratch"
    freeze: float = Field(0.3, ge=0, le=1)
    weights: str | None = None

    @model_validator(mode="after")
    def _together(self) -> "Model":
        if self.backbone not in FAMILIAR:
            # Only the libraries know the other names, and they take seconds to load.
            from mien.training.backbones import check_name

            check_name(self.backbone)
        if self.transfer == "scratch" and self.weights:
            raise ValueError("transfer: scratch does not read weights; set transfer to full, partial or frozen")
        if self.transfer != "scratch" and not self.weights:
            raise ValueError(
                f"transfer: {self.transfer} needs weights: hub, a bundle, a file, or the folder of an earlier run"
            )
        return self


class Fit(BaseModel):
    """How a network is fitted.

    `monitor` chooses the checkpoint that is kept, always on the validation rows. `patience` epochs without a better
    value end the fit early (0: never). `ema` is the decay per step of the average of weights that is evaluated
    (0: off). `progressive` trains at small pictures first, growing evenly to full size over the first `progressive`
    share of the epochs (Tan and Le 2021). `precision` auto means bf16 where the machine has it, but float32 on a
    processor for a network with many depthwise convolutions. `class_weights` balanced weighs the loss by inverse class
    frequency. `soft_labels` fits the votes of the annotators where the data has them. `teachers` are folders of earlier
    runs, or bundles, with the same classes and chain: their mean probabilities, on the very pictures the network sees,
    but without `noise`, are the target to the share `teacher_share` (Hinton et al. 2015; Beyer et al. 2022, "A good
    teacher is patient and consistent").
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: Positive = 30
    batch: Annotated[int, Field(gt=1)] = 128
    optimiser: Literal["adam", "adamw", "sgd", "rmsprop"] = "sgd"
    learning_rate: float = Field(0.06, gt=0)
    weight_decay: float = Field(5e-4, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    schedule: Literal["constant", "plateau", "cosine", "one-cycle"] = "one-cycle"
    plateau_patience: Positive = 5
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    soft_labels: bool = False
    teachers: tuple[str, ...] = ()
    teacher_share: float = Field(0.7, gt=0, le=1)
    class_weights: Literal["none", "balanced"] = "none"
    ema: float = Field(0.0, ge=0, lt=1)
    patience: int = Field(0, ge=0)
    monitor: Literal["accuracy", "loss"] = "accuracy"
    progressive: float = Field(0.0, ge=0, le=1)
    precision: Literal["auto", "float32", "bf16"] = "auto"

    @model_validator(mode="before")
    @classmethod
    def _never_on_test(cls, given: Any) -> Any:
        if isinstance(given, dict) and "test" in str(given.get("monitor", "")):
            raise ValueError(
                "test-as-monitor: nothing is chosen on the test split; monitor accuracy or loss, of the validation rows"
            )
        return given


class TripletSpec(BaseModel):
    """How to train the embedding; the defaults are the best trial of Al-Ghiffary et al. 2024, Table 6.

    `validation_rows` pictures, always the same, are looked at every `validate_every` iterations. `readout` makes
    answers of vectors: the nearest class mean, the nearest training pictures, or a linear layer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dimensions: Positive = 128
    margin: float = Field(0.2, gt=0)
    mining: Mining = "semi-hard"
    optimiser: Optimiser = "adam"
    learning_rate: float = Field(1e-4, gt=0)
    epochs: Positive = 8
    batch: int = Field(16, ge=4)
    doubling: bool = False
    validate_every: Positive = 30
    validation_rows: Positive = 500
    readout: Readout = "centroid"


def _around_one(name: str, given: Any) -> float:
    """The amount of a pair of factors [1 - amount, 1 + amount]."""
    if not (isinstance(given, list | tuple) and len(given) == 2 and all(isinstance(v, int | float) for v in given)):
        raise ValueError(f"{name} must be two factors around 1, as [0.8, 1.2]; given: {given}")
    low, high = given
    if high < low or abs(low + high - 2) > 1e-6:
        raise ValueError(
            f"{name} must reach as far below 1 as above it, as [0.8, 1.2]: changes are drawn evenly; given: {given}"
        )
    return round((high - low) / 2, 9)  # 0.2, and not 0.19999999999999996
