"""A bundle: an ONNX network whose metadata carries everything that is needed to use it."""

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import onnxruntime
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mien import weights
from mien.errors import BundleError, MienError, UsageError, unknown
from mien.imaging.chain import Chain
from mien.imaging.framing import Framing
from mien.labels import EXPRESSIONS, OWN, is_label

KEY = "mien"
INPUT, OUTPUT = "faces", "logits"
_ANY = "N"  # the size of a batch
MAX_BYTES = 512 * 2**20


class BundleInfo(BaseModel):
    """What a bundle says about itself: the JSON under the metadata key `mien`.

    `probabilities = softmax(logits / temperature)`, the logits averaged over the picture and its mirror image where
    `flip` is set; an answer whose highest probability lies below `uncertain_below` is marked uncertain, and every one
    where that is None: no threshold promises what the recipe asks for. `figures` hold what is known of its worth:
    `test`, if it is there, has figures by name, each with its `value` and the bounds of its interval, `low` and `high`,
    which are None where there is no interval.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: str = Field(min_length=1)
    labels: tuple[str, ...] = Field(min_length=2)
    chain: list[Any]
    temperature: float = Field(default=1.0, ge=1e-3, le=1e3, allow_inf_nan=False)
    uncertain_below: Annotated[float, Field(ge=0, le=1)] | None = None
    framing: dict[str, Any] = {}
    flip: bool = False
    licence: str = ""
    origin: str = ""
    training_data: str = ""
    recipe_digest: str = ""
    figures: dict[str, Any] = {}

    @field_validator("labels")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value) or not all(map(is_label, value)):
            raise ValueError(f"labels must be distinct: expressions ({', '.join(EXPRESSIONS)}), or names of {OWN}")
        return value

    @field_validator("name")
    @classmethod
    def _printable(cls, value: str) -> str:
        # It stands in every answer, which is written to terminals and tables.
        if not value.isprintable():
            raise ValueError("a name has printable characters only")
        return value

    @field_validator("figures")
    @classmethod
    def _shaped(cls, value: dict[str, Any]) -> dict[str, Any]:
        test = value.get("test", {})
        if not (isinstance(test, dict) and all(map(_is_figure, test.values()))):
            raise ValueError("test has figures by name, each with value, low and high: numbers, or null")
        return value

    def to_json(self) -> str:
        """The JSON document that goes into the metadata."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the JSON document. Raises BundleError listing every field that is wrong."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            wrong = [f"{'.'.join(map(str, e['loc'])) or 'document'}: {e['msg']}" for e in error.errors()]
            raise BundleError("the bundle's metadata is not valid", got=wrong, allowed="format 1") from error


def _is_figure(found: object) -> bool:
    return isinstance(found, dict) and all(
        name in found and isinstance(found[name], float | int | None) for name in ("value", "low", "high")
    )


@dataclass(frozen=True)
class Bundle:
    """A network ready to run, and what it says about itself; `digest` is the SHA-256 of its file of `size` bytes."""

    info: BundleInfo
    path: Path
    size: int
    digest: str
    chain: Chain
    framing: Framing
    session: onnxruntime.InferenceSession
    threads: int = 1

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.path.absolute(), self.digest, self.threads)


def names() -> tuple[str, ...]:
    """The names of the bundles in this installation, the default first."""
    return tuple(name for name in weights.SHIPPED if _shipped(name).is_file())


def means_bundle(text: str) -> bool:
    """Whether a text names a bundle, where it could name a folder as well: a shipped one, or a file that ends .onnx."""
    return text in weights.SHIPPED or text.endswith(".onnx")


def load(name_or_path: str | Path = weights.DEFAULT, threads: int = 1) -> Bundle:
    """Load a shipped bundle by its name, or one of your own by its path.

    `threads` is how many cores one forward pass may use; one is fastest for a few faces at a time.
    Raises UsageError for an unknown name, BundleError for a file that is absent, foreign or inconsistent.
    """
    path = _locate(name_or_path)
    data = _bytes(path)
    session = _session(data, path, threads)
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    if text is None:
        raise BundleError(
            f"{path} is an ONNX network without mien's metadata: its labels and preprocessing are not known",
            then="make a bundle from a run with: mien export RUN",
        )
    try:
        info = BundleInfo.from_json(text)
        bundle = Bundle(
            info,
            path,
            len(data),
            sha256(data).hexdigest(),
            Chain.parse(info.chain),
            Framing(**info.framing),
            session,
            threads,
        )
    except (MienError, TypeError, ValueError, OverflowError) as error:
        raise BundleError(f"{path} cannot be used: {error}") from error
    _check(bundle)
    return bundle


def _again(path: Path, digest: str, threads: int) -> Bundle:
    """A bundle that was loaded in another process. Raises BundleError where its file is another by now."""
    found = load(path, threads)
    if found.digest != digest:
        raise BundleError(f"{path} is not the bundle any more that it was", got=found.digest, allowed=digest)
    return found


def _shipped(name: str) -> Path:
    return Path(weights.__file__).parent / f"{name}.onnx"


def check_name(given: object) -> None:
    """Raise UsageError on what is neither the name nor the path of a bundle."""
    if not isinstance(given, str | Path):
        raise UsageError("not a model", got=type(given).__name__, allowed=f"a path, or {', '.join(weights.SHIPPED)}")


def _locate(name_or_path: str | Path) -> Path:
    check_name(name_or_path)
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".onnx") or "/" in text or "\\" in text:
        return Path(name_or_path)
    if text not in weights.SHIPPED:
        said = unknown("model", text, weights.SHIPPED)
        then = said.then or "name a bundle of your own by its path, NAME.onnx: mien export RUN makes one"
        raise UsageError(said.what, got=said.got, allowed=said.allowed, then=then)
    return _shipped(text)


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BundleError(
                f"{path} is too large for a bundle", got=path.stat().st_size, allowed=f"{MAX_BYTES} bytes"
            )
        return path.read_bytes()
    except OSError as error:
        then = f"make a bundle of a run with: mien export {path}" if path.is_dir() else "mien models"
        raise BundleError(f"no bundle can be read at {path}: {error.strerror}", allowed=names(), then=then) from error


def _session(data: bytes, path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads would take the cores that decoding and detection need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Weights come out of the bundle's own bytes, which its digest covers: a place that cannot be has no others.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull + "/none")
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class but this one
        raise BundleError(f"{path} is not a network that ONNX Runtime can run: {error}") from error


def _check(bundle: Bundle) -> None:
    """Raise BundleError where the network's shapes and its metadata disagree."""
    inputs, outputs = bundle.session.get_inputs(), bundle.session.get_outputs()
    found = ([x.name for x in inputs], [x.name for x in outputs])
    if found != ([INPUT], [OUTPUT]):
        raise BundleError(
            f"{bundle.path} has other inputs and outputs than a bundle", got=found, allowed=(INPUT, OUTPUT)
        )
    if bundle.chain.size is None or bundle.chain.channels is None:
        raise BundleError(
            f"{bundle.path}: the chain leaves the size or the channels of a face open", got=bundle.chain.as_list()
        )
    made = [_ANY, bundle.chain.channels, *bundle.chain.size]
    if not _takes(inputs[0], made):
        allowed = f"{inputs[0].type} {inputs[0].shape}"
        raise BundleError(f"{bundle.path}: the chain does not make what the network takes", got=made, allowed=allowed)
    asked = [_ANY, len(bundle.info.labels)]
    if not _takes(outputs[0], asked):
        got = f"{outputs[0].type} {outputs[0].shape}"
        raise BundleError(f"{bundle.path}: the network does not answer one number a label", got=got, allowed=asked)


def _takes(node: Any, sizes: list[Any]) -> bool:
    """Whether an input or output is float32 of these sizes; `_ANY` must be left open, and any other may be."""
    sized = len(node.shape) == len(sizes)
    return (
        sized
        and node.type == "tensor(float)"
        and all(not isinstance(theirs, int) or theirs == ours for theirs, ours in zip(node.shape, sizes, strict=True))
    )
