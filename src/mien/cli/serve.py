"""mien serve: the recogniser as a web page and an API."""

import json
import socket
from typing import Annotated

import typer

from mien.errors import MissingExtra, UsageError

SOON = 64  # requests that may wait or be answered at once; more are told to come back


def serve(
    model: Annotated[str, typer.Option(help="The name of a shipped model, or the path of a bundle.")] = "ferplus",
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 is every network of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port; 0 takes a free one.")] = 8000,
    detector: Annotated[str, typer.Option(help="auto, yunet or haar.")] = "auto",
    limit: Annotated[int, typer.Option(min=1, help="Megabytes that a picture may have.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Model and address as JSON, once it listens.")] = False,
) -> None:
    """Answer pictures over HTTP: a page for a browser, with its camera too, and an API for programs.

    Pictures are answered and forgotten: none is stored, and the log has no contents.

    Example: mien serve --port 8080
    """
    try:
        import uvicorn

        from mien.serve.app import MEGABYTE, application
    except ModuleNotFoundError as missing:
        if (missing.name or "mien").partition(".")[0] == "mien":
            raise
        raise MissingExtra("serving", "serve") from missing

    from mien.runtime.recognizer import load

    recognizer = load(model, detector=detector)
    app = application(recognizer, limit * MEGABYTE)
    listening = _bound(host, port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listening.getsockname()[1]}"
    if as_json:
        typer.echo(json.dumps({"model": recognizer.model, "url": url}))
    else:
        typer.echo(f"{recognizer.model} at {url} (Ctrl-C stops it)", err=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, limit_concurrency=SOON)
    uvicorn.Server(config).run(sockets=[listening])


def _bound(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(found[4][:2], family=found[0])
    except OSError as error:
        raise UsageError(
            f"cannot listen at {host}, port {port}: {error.strerror}", then="choose another --port"
        ) from error
