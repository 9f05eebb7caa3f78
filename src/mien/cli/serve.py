"""mien serve: the recogniser as a web page and an API."""

import json
import socket
from typing import Annotated

import typer

from mien.cli.options import Detector, Model
from mien.errors import MissingExtra, UsageError
from mien.weights import DEFAULT


def serve(
    model: Model = DEFAULT,
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 is every network of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port; 0 takes a free one.")] = 8000,
    detector: Detector = "auto",
    megabytes: Annotated[int, typer.Option(min=1, help="The largest picture, as a file.")] = 20,
    megapixels: Annotated[int, typer.Option(min=1, max=100, help="The largest picture, in millions of pixels.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Model and address as JSON, once it listens.")] = False,
) -> None:
    """Answer pictures over HTTP: a page for a browser, with its camera too, and an API for programs.

    Pictures are answered and forgotten: none is stored, and the log has no contents.

    Example: mien serve --port 8080
    """
    try:
        import uvicorn

        from mien.serve.app import application
    except ModuleNotFoundError as missing:
        if (missing.name or "mien").partition(".")[0] == "mien":
            raise
        raise MissingExtra("serving", "serve") from missing

    from mien.runtime.recognizer import load

    recognizer = load(model, detector=detector)
    app = application(recognizer, megabytes * 10**6, megapixels * 10**6)
    listening = bound(host, port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listening.getsockname()[1]}"
    if as_json:
        typer.echo(json.dumps({"model": recognizer.model, "url": url}))
    else:
        typer.echo(f"{recognizer.model} at {url} (Ctrl-C stops it)", err=True)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="off", timeout_graceful_shutdown=3
    )
    uvicorn.Server(config).run(sockets=[listening])


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens at an address. Raises UsageError for one that cannot be."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise UsageError(f"no address is called {host}: {error}", then="choose another --host") from error
    try:
        made = socket.create_server(address[:2], family=family)
    except OSError as error:
        raise UsageError(
            f"cannot listen at {host}, port {port}: {error.strerror}", then="choose another --port, or another --host"
        ) from error
    # Only on sockets that say they are TCP does asyncio send small packets at once: else an answer waits 40 ms.
    return socket.socket(made.family, made.type, socket.IPPROTO_TCP, made.detach())
