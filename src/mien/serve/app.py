"""The web application: one picture in, its faces out. Nothing that is sent is kept."""

from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Annotated, Any

from anyio import Semaphore, to_thread
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as HTTPError

from mien import __version__
from mien.errors import DataError, MienError, UnreadableImage
from mien.imaging.decode import decode
from mien.runtime.ahead import cores
from mien.runtime.annotate import colours
from mien.runtime.recognizer import MOST_WORKERS, Recognizer
from mien.runtime.results import PictureResult, document
from mien.serve.guard import Guard, body
from mien.serve.schema import About, Answer, Asked, Refused

_PICTURE = {
    "required": True,
    "description": "The bytes of a PNG, JPEG, GIF, BMP, WebP, TIFF or PNM file",
    "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    408: {"model": Refused, "description": "The picture takes too long to arrive."},
    413: {"model": Refused, "description": "The picture has more bytes than the server takes."},
    415: {"model": Refused, "description": "The body is a form, or encoded."},
    422: {
        "model": Refused,
        "description": "The body is no picture, or one that cannot be read; or the query is wrong.",
    },
    500: {"model": Refused, "description": "The server failed; its log says how."},
    503: {"model": Refused, "description": "Too many requests are open, or too little memory is left."},
}


def application(recognizer: Recognizer, limit: int = 20_000_000, max_pixels: int = 50_000_000) -> Guard:
    """The API and the page over a recogniser that finds faces, and one of the same model for pictures that are faces.

    A picture has at most `limit` bytes and `max_pixels` pixels, which take up to 18 bytes of memory each while it is
    decoded. One picture a core, eight at most, is worked on at a time; others wait.
    """
    app = FastAPI(
        title="mien", version=__version__, description="Expressions of the faces in a picture.", docs_url=None,
        redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    recognizers = {"face": recognizer, "whole": _whole(recognizer)}
    free = Semaphore(min(MOST_WORKERS, cores()))
    known = recognizer.bundle.info.model_dump(include=set(About.model_fields))

    @app.post("/faces", responses=_REFUSALS, openapi_extra={"requestBody": _PICTURE})
    async def faces(request: Request, query: Annotated[Asked, Query()]) -> Answer:
        """The faces of a picture and their expressions."""
        asked = recognizers[query.crop]
        if isinstance(asked, MienError):
            raise HTTPException(422, f"this server takes no whole faces: {asked}")
        sent = await body(request, limit)
        async with free:
            if await request.is_disconnected():
                raise HTTPException(400, "the client has gone")
            return await to_thread.run_sync(_answered, asked, sent, max_pixels)

    @app.get("/model")
    def model() -> About:
        """The model that answers: labels, licence, training data, figures."""
        return About(model=recognizer.model, detector=recognizer.detector, limit=limit, max_pixels=max_pixels, **known)

    @app.head("/health", include_in_schema=False)
    @app.get("/health")
    async def health() -> dict[str, str]:
        """That the server is up."""
        return {"status": "ok"}

    for place, (content, kind) in _page(recognizer.labels).items():
        app.add_route(place, _given(content, kind), include_in_schema=False)
    app.add_exception_handler(HTTPError, _refused)
    app.add_exception_handler(RequestValidationError, _misunderstood)
    app.add_exception_handler(Exception, _failed)
    return Guard(app)


def _whole(recognizer: Recognizer) -> Recognizer | MienError:
    """The same model for pictures that are faces; the reason where its chain lacks the file of a detector."""
    try:
        return Recognizer(recognizer.bundle, crop="whole")
    except MienError as error:
        return error


def _answered(recognizer: Recognizer, sent: bytes, max_pixels: int) -> Answer:
    try:
        pixels = decode(sent, max_pixels)
        height, width = pixels.shape[:2]
        result = PictureResult("", width, height, recognizer.faces(pixels))
    except UnreadableImage as error:
        raise HTTPException(422, f"the picture cannot be read: {error.reason}") from error
    except DataError as error:
        raise HTTPException(422, error.what) from error
    except MemoryError as error:
        raise HTTPException(503, "too large for the memory that is left", {"retry-after": "1"}) from error
    return Answer(model=recognizer.model, **document(result))


def _given(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def give(_: Request) -> Response:
        return Response(content, media_type=kind)

    return give


def _page(labels: Sequence[str]) -> dict[str, tuple[bytes, str]]:
    """The content and kind of every file of the page, by its place; expressions have the colours of drawings."""
    inks = "".join(f"--of-{name}: rgb{ink}; " for name, ink in colours(labels).items())
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


async def _failed(_: Request, error: Exception) -> JSONResponse:
    # Starlette raises the error again for the log; the client learns nothing of the inside.
    return JSONResponse(Refused(error="the server failed").model_dump(), 500)
