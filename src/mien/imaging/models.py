"""Model files that are fetched on request: where they come from, what they must contain, where they are looked for."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mien.errors import DataError, MienError, unknown
from mien.files import cache_folder, sha256, told

Progress = Callable[[int, int], None]

_GFPGAN = "https://github.com/TencentARC/GFPGAN/releases/download"
_REAL_ESRGAN = "https://github.com/xinntao/Real-ESRGAN/releases/download"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class ModelFile:
    """A published file: its name, address, SHA-256, size in bytes and licence."""

    file: str
    address: str
    sha256: str
    size: int
    licence: str


MODELS = {
    "yunet": ModelFile(
        "face_detection_yunet_2026may.onnx",
        "https://github.com/opencv/opencv_zoo/raw/47534e27c9851bb1128ccc0102f1145e27f23f98"
        "/models/face_detection_yunet/face_detection_yunet_2026may.onnx",
        "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0",
        229_738,
        "MIT",
    ),
    "gfpgan-1.3": ModelFile(
        "GFPGANv1.3.pth",
        f"{_GFPGAN}/v1.3.0/GFPGANv1.3.pth",
        "c953a88f2727c85c3d9ae72e2bd4846bbaf59fe6972ad94130e23e7017524a70",
        348_632_874,
        "Apache-2.0, parts non-commercial",
    ),
    "gfpgan-1.4": ModelFile(
        "GFPGANv1.4.pth",
        f"{_GFPGAN}/v1.3.4/GFPGANv1.4.pth",
        "e2cd4703ab14f4d01fd1383a8a8b266f9a5833dacee8e6a79d3bf21a1b6be5ad",
        348_632_874,
        "Apache-2.0, parts non-commercial",
    ),
    "restoreformer": ModelFile(
        "RestoreFormer.pth",
        f"{_GFPGAN}/v1.3.4/RestoreFormer.pth",
        "07404d446d62ca3d5ed38b1de09a947a1e77d46dbccec961a74d713a8f24ace0",
        290_785_322,
        "Apache-2.0",
    ),
    "codeformer": ModelFile(
        "codeformer.pth",
        "https://github.com/sczhou/CodeFormer/releases/download/v0.1.0/codeformer.pth",
        "1009e537e0c2a07d4cabce6355f53cb66767cd4b4297ec7a4a64ca4b8a5684b7",
        376_637_898,
        "S-Lab 1.0, non-commercial",
    ),
    "realesrgan-x2": ModelFile(
        "RealESRGAN_x2plus.pth",
        f"{_REAL_ESRGAN}/v0.2.1/RealESRGAN_x2plus.pth",
        "49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
        67_061_725,
        "BSD-3-Clause",
    ),
    "realesrgan-x4": ModelFile(
        "RealESRGAN_x4plus.pth",
        f"{_REAL_ESRGAN}/v0.1.0/RealESRGAN_x4plus.pth",
        "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
        67_040_989,
        "BSD-3-Clause",
    ),
}


def model_folder() -> Path:
    """Where model files are put: `MIEN_MODELS`, else `models` in the cache folder."""
    named = os.environ.get("MIEN_MODELS")
    return Path(named) if named else cache_folder() / "models"


def present(name: str) -> Path | None:
    """The file of a model, in `MIEN_MODELS` or the cache folder; None when it is in neither."""
    file = _model(name).file
    # os.path answers False where pathlib raises: below folders that may not be read.
    return next((path for folder in _folders() if os.path.isfile(path := folder / file)), None)  # noqa: PTH113


def find(name: str) -> Path:
    """The file of a model, checked by its SHA-256. Raises MienError when it is absent, saying how to bring it."""
    model, path = _model(name), present(name)
    if path is None:
        raise MienError(
            f"the model file {model.file} is not here",
            got=[str(folder) for folder in _folders()],
            allowed=f"{model.address} (sha256 {model.sha256})",
            then=f"mien models pull {name}, or put the file into {model_folder()}",
        )
    if (found := checksum(path)) != model.sha256:
        raise MienError(
            f"{path} is not the published file",
            got=f"sha256 {found}",
            allowed=f"sha256 {model.sha256}",
            then=f"delete it, then: mien models pull {name}",
        )
    return path


def pull(name: str, progress: Progress | None = None) -> Path:
    """Fetch a model's file into `model_folder()` and check its SHA-256; what is there already is not fetched again.

    A transfer that broke off goes on where it stopped, from a file that ends in `.part`.
    Raises MienError when the address cannot be reached or the file is not the published one.
    """
    model = _model(name)
    if present(name):
        return find(name)
    path = model_folder() / model.file
    part = path.with_name(f"{path.name}.part")
    with told(part):
        part.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(model, part, progress)
    except OSError as error:
        raise MienError(
            f"cannot fetch {model.address}: {getattr(error, 'reason', None) or error.strerror or error}",
            allowed=f"sha256 {model.sha256}",
            then=f"run it again to continue the download, or put {model.file} into {path.parent} by hand",
        ) from error
    if (found := sha256(part)) != model.sha256:
        part.unlink()
        raise MienError(
            f"{model.address} did not give the published file", got=f"sha256 {found}", allowed=f"sha256 {model.sha256}"
        )
    part.replace(path)
    return path


def _fetch(model: ModelFile, part: Path, progress: Progress | None) -> None:
    # Using a model must not pay for what only a fetch needs.
    import urllib.error
    import urllib.request

    done = part.stat().st_size if part.is_file() else 0
    if done >= model.size:
        return
    request = urllib.request.Request(model.address, headers={"Range": f"bytes={done}-"} if done else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        if answer.status != 206:
            done = 0
        with part.open("ab" if done else "wb") as stream:
            while done < model.size and (block := answer.read(min(_BLOCK, model.size - done))):
                stream.write(block)
                done += len(block)
                if progress:
                    progress(done, model.size)
    if done < model.size:
        raise urllib.error.URLError(f"the transfer broke off after {done:,} of {model.size:,} bytes")


def checksum(path: Path) -> str:
    """The SHA-256 of a file, which is read again only where it has changed. Raises MienError where it cannot be."""
    try:
        state = path.stat()
        return _sha256(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise MienError(
            f"{path} cannot be read: {error.strerror}", then="change its permissions, or delete it"
        ) from error


@lru_cache
def _sha256(path: Path, size: int, changed: int) -> str:
    # A chain asks for its detector at every picture, and the file is read again only where it has changed.
    return sha256(path)


def _model(name: str) -> ModelFile:
    if name not in MODELS:
        raise unknown("model file", name, MODELS)
    return MODELS[name]


def _folders() -> list[Path]:
    found = []
    for place in (model_folder, lambda: cache_folder() / "models"):
        # A process without a home has no cache folder, and may still look at pictures.
        with suppress(DataError):
            found.append(place())
    return list(dict.fromkeys(found))
