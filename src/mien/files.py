"""Files that are either whole or absent: written beside their place, then renamed."""

import errno
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

from mien.errors import DataError

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UNWRITABLE = frozenset(
    (
        errno.ENOSPC,
        errno.ENOENT,
        errno.EDQUOT,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
        errno.EFBIG,
        errno.ENOTDIR,
        errno.EEXIST,
        errno.EISDIR,
        errno.EBUSY,
        errno.ENAMETOOLONG,
    )
)


def from_yaml(text: str, name: str = "it") -> Any:
    """Plain values of YAML. Raises yaml.YAMLError, also for a key that is given twice, and ValueError for no date.

    Errors say where in `name` they are.

    >>> from_yaml("fit: {epochs: 3}")
    {'fit': {'epochs': 3}}
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            # What is merged by `<<` may be given again, and is added here.
            seen: set[str] = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    continue
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"given twice: {key.value}", problem_mark=key.start_mark)
                seen.add(key.value)
            super().flatten_mapping(node)

    loader = Loader(text)
    loader.name = name
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and vanishes when it does not."""
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = hidden(path)
        beside.touch(exist_ok=False)
        try:
            yield beside
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place when the block ends well, and vanishes when it does not.

    Of two writers that race, the first to finish wins and the other's folder is dropped.
    """
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = hidden(path)
        beside.mkdir()
        try:
            yield beside
            try:
                beside.replace(path)
            except OSError:
                if not path.is_dir():
                    raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def walk(
    top: Path | str, onerror: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """`os.walk` that follows links, but into each folder once: a link may lead back to where it stands."""
    seen: set[str] = set()
    for folder, folders, files in os.walk(top, onerror=onerror, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(real)
        yield folder, folders, files


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Whether no other process stands in such a block for `path`; a hidden file beside it says so, and goes with it."""
    if sys.platform == "win32":  # no locks that end with their process
        yield True
        return
    import fcntl

    path = path.resolve()  # behind a link is the same place
    lock = path.parent / f".{path.name}.lock"
    with ExitStack() as stack:
        held = False
        unlocked = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
        # A file that another process took away in between locks nobody out: the one that is there now does.
        while not held:
            with told(path):
                lock.parent.mkdir(parents=True, exist_ok=True)
                stream = stack.enter_context(lock.open("a"))
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    break
                except OSError as error:
                    # A file system without locks: nobody can be kept out there.
                    if error.errno not in unlocked:
                        raise
            with suppress(FileNotFoundError):
                held = os.path.samestat(os.fstat(stream.fileno()), lock.stat())
        if not held:
            yield False
            return
        try:
            yield True
        finally:
            lock.unlink(missing_ok=True)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """A full disk or a forbidden place as an error that names what could not be written.

    An error about a file elsewhere, that was to be read for it, passes as it is.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _UNWRITABLE or not _concerns(error, path):
            raise
        raise DataError(
            f"cannot write {path}: {error.strerror}", then="free some space, or choose a writable folder"
        ) from error


def _concerns(error: OSError, path: Path) -> bool:
    """Whether an error is about a place in the folder of `path`, or above it, or says of none."""
    if not isinstance(error.filename, str | bytes):
        return True
    named, ours = Path(os.fsdecode(error.filename)).absolute(), path.absolute()
    return named.is_relative_to(ours.parent) or ours.is_relative_to(named)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON document whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON document."""
    return json.loads(path.read_text(encoding="utf-8"))


def digest(*parts: bytes | str) -> str:
    """A 128-bit hex digest (BLAKE2b) of the parts, told apart by their lengths."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        # A file name that is not UTF-8 comes with surrogates in place of its bytes.
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def printable(name: str) -> str:
    r"""A file name as text that can be written: bytes that are not UTF-8, and control characters, as escapes.

    >>> printable("caf\udce9\x1b.png")
    'caf\\xe9\\x1b.png'
    """
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def cache_folder() -> Path:
    """Where mien keeps what it can make again: `MIEN_CACHE`, else the user's cache folder."""
    if named := os.environ.get("MIEN_CACHE"):
        return Path(named)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "mien"
    try:
        return Path.home() / ".cache" / "mien"
    except RuntimeError as error:
        raise DataError("this user has no home folder to keep files in", then="set MIEN_CACHE to a folder") from error


def hidden(path: Path) -> Path:
    """A hidden name in the same folder that nobody else has."""
    return path.parent / f".{path.name}.{token_hex(4)}"
