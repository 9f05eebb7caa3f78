"""Upscaling and face restoration behind one interface: interpolation, and networks from files that are never unpickled.

GFPGAN (Wang et al., CVPR 2021), CodeFormer (Zhou et al., NeurIPS 2022), RestoreFormer (Wang et al., CVPR 2022) and
Real-ESRGAN (Wang et al., ICCVW 2021) are loaded through spandrel, of the extra `restore`, on first use.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from mien.errors import MienError, MissingExtra, UsageError
from mien.files import sha256
from mien.imaging import models, operations
from mien.imaging.operations import Image
from mien.imaging.steps import Outcome, Size, Step, one_of, whole

INTERPOLATED = ("bicubic", "lanczos")
LEARNED = ("gfpgan-1.3", "gfpgan-1.4", "codeformer", "restoreformer", "realesrgan-x2", "realesrgan-x4")
DEVICES = ("auto", "cpu", "cuda")
FACE_SIDE = 512
MAX_BYTES = 2**31

_LOADING = threading.Lock()
_USING = threading.Lock()


@dataclass(frozen=True)
class Restore(Step):
    """Make a picture larger or better, (size, size), by name: `bicubic`, `lanczos`, or a network of `LEARNED`.

    Networks answer in colour, and see one picture at a time, so that its result does not depend on its neighbours.
    `weights` is the network's file (.pth, .ckpt, .safetensors), with its `sha256`, so that a chain says exactly what it
    does and its cached pixels are not those of another file; without it the published one is used, as
    `mien models pull NAME` fetches it. `device` is `cpu`, `cuda`, or `auto`: cuda where there is one. Nothing is loaded
    before the first picture. Raises MienError when the file is absent (with address, checksum and folder), not the one
    that was asked for, or not a restorer; MissingExtra without spandrel.
    """

    restorer: str = "gfpgan-1.4"
    weights: str | None = None
    sha256: str = ""
    device: str = "auto"
    size: int = FACE_SIDE

    def __post_init__(self) -> None:
        one_of("restorer", self.restorer, (*INTERPOLATED, *LEARNED))
        one_of("device", self.device, DEVICES)
        whole("size", self.size, 1, 4096)
        if self.restorer in INTERPOLATED:
            of_networks = [each for each in fields(self) if each.name in ("weights", "sha256", "device")]
            if given := [each.name for each in of_networks if getattr(self, each.name) != each.default]:
                raise UsageError(
                    f"{self.restorer} is interpolation and takes no {' or '.join(given)}",
                    got=[getattr(self, name) for name in given], allowed=LEARNED,
                )  # fmt: skip
            return
        if self.weights is None:
            if self.sha256:
                then = "add weights, the path of the file, or leave sha256 out"
                raise UsageError("restore: sha256 is that of weights of your own", got=self.sha256, then=then)
            return
        if not isinstance(self.weights, str):
            raise UsageError("restore: weights are the path of a file", got=self.weights)
        if not self.sha256:
            path = Path(self.weights).expanduser()
            known = f"add sha256: {sha256(path)}" if path.is_file() else f"add what this prints: sha256sum {path}"
            raise UsageError("restore: weights of your own need their sha256", got=self.weights, then=known)

    def apply(self, image: Image) -> Outcome:
        if self.restorer in INTERPOLATED:
            kind = {"bicubic": "cubic"}.get(self.restorer, self.restorer)
            return Outcome(operations.resize(image, self.size, self.size, kind))
        with _LOADING:
            network = _loaded(self.restorer, self._file(), self.device)
        with _USING:
            restored = network(operations.colour(image))
        return Outcome(operations.resize(restored, self.size, self.size))

    def check(self) -> None:
        if self.restorer in LEARNED:
            self._file()

    def size_after(self, before: Size | None) -> Size | None:
        return self.size, self.size

    def channels_after(self, before: int | None) -> int | None:
        return before if self.restorer in INTERPOLATED else 3

    def _file(self) -> Path:
        if self.weights is None:
            return models.find(self.restorer)
        path = Path(self.weights).expanduser()
        if not path.is_file():
            raise MienError(
                f"there is no file {path}", then=f"leave 'weights' out and run: mien models pull {self.restorer}"
            )
        if (found := models.checksum(path)) != self.sha256:
            raise MienError(
                f"{path} is not the file that was asked for", got=f"sha256 {found}", allowed=f"sha256 {self.sha256}",
                then="set sha256 in the chain to the file's own, or bring the file that the chain names",
            )  # fmt: skip
        return path


@lru_cache(maxsize=2)
def _loaded(name: str, path: Path, device: str) -> Callable[[Image], Image]:
    """A network ready to use: (H, W, 3) uint8 to (H', W', 3) uint8."""
    try:
        torch, spandrel = import_module("torch"), import_module("spandrel")
    except ImportError as error:
        raise MissingExtra(f"restoration with {name}", "restore") from error
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device here", got=device, allowed=("auto", "cpu"))
    if name == "codeformer":
        _add_codeformer()
    place = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    try:
        found = spandrel.ModelLoader().load_from_state_dict(spandrel.canonicalize_state_dict(_weights(path, torch)))
    except (spandrel.UnsupportedModelError, RuntimeError, KeyError) as error:
        raise MienError(f"{path} holds no restorer that spandrel knows: {error}") from error
    if not isinstance(found, spandrel.ImageModelDescriptor) or found.input_channels != 3:
        raise MienError(f"{path} holds a network that does not turn a colour picture into one")
    network = found.eval().to(place)
    forward = _FORWARD.get(network.architecture.id)

    def restored(image: Image) -> Image:
        if network.purpose == "FaceSR":
            image = operations.resize(image, FACE_SIDE, FACE_SIDE, "linear")
        with torch.inference_mode():
            pixels = torch.from_numpy(image.copy()).to(place).permute(2, 0, 1)[None].float() / 255
            answer = forward(network.model, pixels) if forward else network(pixels)
            levels = (answer[0].float().clamp(0, 1) * 255).round().to(torch.uint8)
            return levels.permute(1, 2, 0).contiguous().cpu().numpy()

    return restored


def _gfpgan(model: Any, pixels: Any) -> Any:
    # The network adds noise to what it draws; its own, stored in the file, gives a picture one result.
    return (model(pixels * 2 - 1, return_rgb=False, randomize_noise=False)[0] + 1) / 2


def _codeformer(model: Any, pixels: Any) -> Any:
    return (model(pixels * 2 - 1)[0] + 1) / 2


# These two work on -1..1, which spandrel passes over; the others are called through it, on 0..1.
_FORWARD: dict[str, Callable[[Any, Any], Any]] = {"GFPGAN": _gfpgan, "CodeFormer": _codeformer}


def _weights(path: Path, torch: Any) -> dict[str, Any]:
    """The tensors of a file, and nothing but tensors: a pickle in it is read without running what it asks for."""
    if path.stat().st_size > MAX_BYTES:
        raise MienError(f"{path} is too large for a restorer", allowed=f"{MAX_BYTES:,} bytes")
    try:
        if path.suffix == ".safetensors":
            return import_module("safetensors.torch").load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise MienError(f"{path} is not a file of weights: {reason}") from error


def _add_codeformer() -> None:
    """CodeFormer's code is for non-commercial use only, and therefore a package of its own."""
    try:
        import_module("spandrel_extra_arches").install(ignore_duplicates=True)
    except ImportError as error:
        raise MienError(
            "CodeFormer needs a package whose licence is non-commercial (S-Lab 1.0)",
            then="pip install spandrel_extra_arches",
        ) from error
