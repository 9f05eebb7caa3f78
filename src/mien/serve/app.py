"""The web application: one picture in, its faces out. Nothing that is sent is kept."""

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Annotated, Any, Literal

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as HTTPError
from starlette.middleware.base import RequestResponseEndpoint

from mien import __version__
from mien.errors import UnreadableImage
from mien.imaging.decode import decode
from mien.runtime.ahead import cores
from mien.runtime.annotate import COLOURS
from mien.runtime.recognizer import Recognizer
from mien.runtime.results import document
from mien.serve.schema import About, Answer, Refused

MEGABYTE = 10**6
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
_PICTURE = {
    "required": True,
    "description": "The bytes of a PNG, JPEG, GIF, BMP, WebP, TIFF or PNM file",
    "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    413: {"model": Refused, "description": "The picture has more bytes than the server takes."},
    415: {"model": Refused, "description": "The body is a form."},
    422: {"model": Refused, "description": "The body is no picture, or one that cannot be read."},
}


def application(recognizer: Recognizer, limit: int = 20 * MEGABYTE) -> FastAPI:
    """The API and the page over a recogniser that finds faces, and one of the same model for pictures that are faces.

    A request takes at most `limit` bytes. As many pictures as there are cores are worked on at a time; others wait.
    """
    app = FastAPI(
        title="mien", version=__version__, description="Expressions of the faces in a picture.", docs_url=None,
        redoc_url=None,
    )  # fmt: skip
    recognizers = {"face": recognizer, "whole": Recognizer(recognizer.bundle, crop="whole")}
    free = CapacityLimiter(cores())
    known = recognizer.bundle.info.model_dump(include=set(About.model_fields))

    @app.post("/faces", responses=_REFUSALS, openapi_extra={"requestBody": _PICTURE})
    async def faces(
        request: Request,
        crop: Annotated[
            Literal["face", "whole"], Query(description="face: find the faces. whole: the picture is one face.")
        ] = "face",
    ) -> Answer:
        """The faces of a picture and their expressions."""
        picture = await _body(request, limit)
        return await to_thread.run_sync(_answered, recognizers[crop], picture, limiter=free)

    @app.get("/model")
    def model() -> About:
        """The model that answers: labels, licence, training data, figures."""
        return About(model=recognizer.model, limit=limit, **known)

    @app.get("/health")
    def health() -> dict[str, str]:
        """That the server is up."""
        return {"status": "ok"}

    for place, (content, kind) in _page().items():
        app.add_route(place, _given(content, kind), include_in_schema=False)

    @app.middleware("http")
    async def guarded(request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers.update(_HEADERS)
        return response

    app.add_exception_handler(HTTPError, _refused)
    app.add_exception_handler(RequestValidationError, _misunderstood)
    return app


async def _body(request: Request, limit: int) -> bytes:
    """What was sent, as long as it is no form and has no more than `limit` bytes, whatever its header claims."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise HTTPException(415, "send the bytes of the picture as the body, not a form")
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > limit:
            raise HTTPException(413, f"a picture may have {limit / MEGABYTE:g} MB", {"connection": "close"})
    return bytes(found)


def _answered(recognizer: Recognizer, picture: bytes) -> Answer:
    try:
        pixels = decode(picture)
    except UnreadableImage as error:
        raise HTTPException(422, f"the picture cannot be read: {error.reason}") from error
    (result,) = recognizer.analyze([pixels])
    if result.error:
        raise HTTPException(422, result.error)
    return Answer(model=recognizer.model, **document(result))


def _given(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def give(_: Request) -> Response:
        return Response(content, media_type=kind)

    return give


def _page() -> dict[str, tuple[bytes, str]]:
    """The content and kind of every file of the page, by its place; expressions have the colours of drawings."""
    inks = "".join(f"--{name}: rgb{ink}; " for name, ink in COLOURS.items())
    kinds = {"index.html": "text/html", "page.js": "text/javascript", "page.css": "text/css"}
    found = {name: (files("mien.serve") / "page" / name).read_bytes() for name in kinds}
    found["page.css"] += f":root {{ {inks}}}\n".encode()
    return {f"/{name.removeprefix('index.html')}": (found[name], kind) for name, kind in kinds.items()}


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPError)
    return JSONResponse(Refused(error=str(error.detail)).model_dump(), error.status_code, error.headers)


async def _misunderstood(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    return JSONResponse(Refused(error=wrong).model_dump(), 422)
