"""What stands between the network and the application: headers of every answer, and how much is taken at once."""

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_REQUESTS = 64
"""Pictures that arrive or are worked on at once; one more is asked to come back later."""

MOST_SECONDS = 30.0
"""How long a picture may take to arrive."""

_HEADERS = [(name.encode(), value.encode()) for name, value in {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}.items()]  # fmt: skip


class Guard:
    """An application whose every answer tells browsers to trust this server alone, and that takes `most` pictures at
    once; more get 503.
    """

    def __init__(self, app: ASGIApp, most: int = MOST_REQUESTS) -> None:
        self.app, self.most, self.open = app, most, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        if scope["path"] != "/faces":  # the rest costs nothing, and whoever watches must hear that the server is well
            await self.app(scope, receive, headed)
            return
        if self.open >= self.most:
            said = {"error": "too many requests are open; try again later"}
            refused = JSONResponse(said, 503, {"retry-after": "1"})
            await refused(scope, receive, headed)
            return
        self.open += 1
        try:
            await self.app(scope, receive, headed)
        finally:
            self.open -= 1


async def body(request: Request, limit: int, seconds: float = MOST_SECONDS) -> bytes:
    """What was sent, as long as it is no form, has at most `limit` bytes and arrives within `seconds`.

    The length that its header claims counts for nothing. Of a longer body up to ten times as much is read and
    forgotten, since a client that still sends hears no answer.
    Raises HTTPException 400, 408, 413 or 415.
    """
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise HTTPException(415, "send the bytes of the picture as the body, not a form")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "send the bytes of the picture as they are, without Content-Encoding")
    found, seen = [], 0
    try:
        with anyio.fail_after(seconds):
            async for part in request.stream():
                seen += len(part)
                if seen <= limit:
                    found.append(part)
                elif seen > 10 * limit:
                    break
    except TimeoutError:
        raise HTTPException(408, f"a picture must arrive within {seconds:g} s") from None
    except ClientDisconnect:
        raise HTTPException(400, "the client has gone") from None
    if seen > limit:
        raise HTTPException(413, f"a picture may have {limit / 10**6:g} MB")
    return b"".join(found)
