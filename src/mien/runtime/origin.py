"""What results come from, so that those of two settings never end in one file unseen."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from mien.errors import DataError
from mien.runtime.collect import here
from mien.runtime.results import FrameResult, Result
from mien.runtime.video import VideoOptions

_WORDS = {"model": "model", "detector": "detector or crop", "video": "way to read videos"}


@dataclass(frozen=True)
class Origin:
    """The model that answers, the detector (None: each picture is a face), and how videos are read."""

    model: str
    detector: str | None
    video: VideoOptions = VideoOptions()

    @classmethod
    def of(cls, written: Mapping[str, Any], video: VideoOptions = VideoOptions()) -> Self:
        """The origin that a line of JSON tells; `video` where it tells none. Raises for a line that tells no origin."""
        told = VideoOptions(**written["video"]) if "video" in written else video
        return cls(str(written["model"]), written["detector"], told)

    def beside(self, result: Result) -> dict[str, Any]:
        """What a line of JSON with this result tells: of a video, the first line says how it is read; of a relative
        path, each has a mark of the folder in which it was named.
        """
        told = asdict(self)
        if not Path(result.source).is_absolute():
            told["folder"] = here()
        if not (isinstance(result, FrameResult) and result.frame == 0):
            del told["video"]
        return told

    def check(self, other: "Origin", where: str) -> None:
        """Raise DataError where what stands at `where` comes from another origin."""
        for name, word in _WORDS.items():
            got, ours = getattr(other, name), getattr(self, name)
            if got != ours:
                raise DataError(
                    f"{where} has another {word}", got=_shown(got), allowed=_shown(ours),
                    then="continue with that one, or choose another name",
                )  # fmt: skip


def _shown(setting: str | VideoOptions | None) -> str:
    """A setting as the command line has it."""
    if isinstance(setting, VideoOptions):
        given = {name.replace("_", "-"): value for name, value in asdict(setting).items() if value is not None}
        return " ".join(f"--{name} {value:g}" for name, value in given.items())
    return setting or "--crop whole"
