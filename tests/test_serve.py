"""The web application: what it answers, what it refuses, and the page."""

import asyncio
import json
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import anyio
import httpx
import numpy as np
import pytest
import starlette.requests
import tiny
import uvicorn
from conftest import ROOT, line_of
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.testclient import TestClient

from mien.cli.serve import bound, serve
from mien.errors import DataError, MissingExtra, UsageError
from mien.imaging.decode import decode, encode_png
from mien.imaging.faces import Face
from mien.runtime.recognizer import Recognizer
from mien.runtime.results import document
from mien.serve.app import application
from mien.serve.guard import Guard, body

DRAW = np.random.default_rng(4)


def told(image):
    height, width = image.shape[:2]
    return [Face((0, 0, width / 2, height / 2), 0.8), Face((width / 2, 0, width / 4, height / 4), 0.7)]


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    return Recognizer(tiny.bundle(tmp_path_factory.mktemp("bundle") / "tiny.onnx"), detector=told)


@pytest.fixture(scope="module")
def client(recognizer):
    with TestClient(application(recognizer, limit=20_000)) as client:
        yield client


def picture(*shape):
    return encode_png(DRAW.integers(0, 256, shape, np.uint8))


@pytest.mark.parametrize("shape", [(40, 60), (50, 30, 3)])
def test_a_picture_is_answered_as_the_recogniser_answers_it(client, recognizer, shape):
    sent = picture(*shape)
    answer = client.post("/faces", content=sent).raise_for_status().json()
    own = document(recognizer.analyze([decode(sent)])[0])
    assert answer["model"] == recognizer.model
    assert {key: answer[key] for key in ("width", "height", "faces")} == {
        key: own[key] for key in ("width", "height", "faces")
    }


def test_a_picture_may_be_one_face_already_cut_out(client):
    ((face,),) = [client.post("/faces?crop=whole", content=picture(40, 60)).raise_for_status().json()["faces"]]
    assert face["box"] == [0, 0, 60, 40] and face["score"] is None


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "application/json", ""])
def test_what_the_client_calls_the_bytes_changes_nothing(client, kind):
    assert client.post("/faces", content=picture(20, 20), headers={"content-type": kind}).status_code == 200


@pytest.mark.parametrize(
    ("request_", "code", "said"),
    [
        ({"content": b""}, 422, "the file is empty"),
        ({"content": b"hello"}, 422, "not a whole PNG"),
        ({"content": picture(100, 100)[:5000]}, 422, "truncated"),
        ({"content": picture(200, 200)}, 413, "0.02 MB"),
        ({"files": {"picture": picture(20, 20)}}, 415, "not a form"),
        ({"content": b"-", "headers": {"content-type": "Multipart/Form-Data; boundary=-"}}, 415, "not a form"),
        ({"content": picture(20, 20), "headers": {"content-encoding": "gzip"}}, 415, "without Content-Encoding"),
        ({"content": picture(20, 20), "params": {"crop": "half"}}, 422, "'face' or 'whole'"),
    ],
)
def test_a_refusal_says_why(client, request_, code, said):
    answer = client.post("/faces", **request_)
    assert answer.status_code == code and said in answer.json()["error"]


def test_a_body_without_a_stated_length_meets_the_limit_too(client):
    def parts():
        for _ in range(100):
            yield bytes(1000)

    assert client.post("/faces", content=parts()).status_code == 413


def test_unknown_places_and_methods_are_refused_in_json(client):
    assert client.get("/nowhere").json() == {"error": "Not Found"}
    assert client.get("/faces").status_code == 405


def test_the_model_says_what_it_is_and_what_an_expression_is_not(client, recognizer):
    about = client.get("/model").json()
    assert about["labels"] == list(recognizer.labels) and about["limit"] == 20_000
    assert "does not measure what a person feels" in about["meaning"]
    assert client.get("/health").json() == {"status": "ok"}
    assert client.head("/health").status_code == 200


def test_the_api_describes_itself(client):
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {"/faces", "/model", "/health"}
    assert set(described["paths"]["/faces"]["post"]["responses"]) == {"200", "408", "413", "415", "422", "500", "503"}


def test_the_page_is_whole_and_asks_no_other_server(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    needed = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert needed == ["page.css", "page.js"]
    for name in needed:
        part = client.get(f"/{name}").raise_for_status()
        assert not re.search(r"//[\w-]+\.\w", part.text)
    assert "--of-happiness: rgb(" in client.get("/page.css").text


class Broken(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Broken("in secret.py"), 500, "the server failed"),
        (ValueError("in secret.py"), 500, "the server failed"),
        (KeyError("secret"), 500, "the server failed"),
        (MemoryError(), 503, "too large for the memory that is left"),
        (DataError("nothing of the picture is left", got="secret.py"), 422, "nothing of the picture is left"),
    ],
)
def test_an_error_is_told_by_whose_it_is_and_without_the_inside(recognizer, error, code, said):
    def breaking(image):
        raise error

    app = application(Recognizer(recognizer.bundle, detector=breaking))
    client = TestClient(app, raise_server_exceptions=False)
    answer = client.post("/faces", content=picture(30, 30))
    assert answer.status_code == code and answer.json() == {"error": said}
    assert "content-security-policy" in answer.headers
    if code == 500:
        with pytest.raises(type(error)):  # so that the server logs it
            TestClient(app).post("/faces", content=picture(30, 30))


def test_more_pixels_than_allowed_are_not_decoded(recognizer):
    client = TestClient(application(recognizer, max_pixels=100))
    assert client.post("/faces", content=picture(10, 10)).status_code == 200
    answer = client.post("/faces", content=picture(10, 11))
    assert answer.status_code == 422 and "100 are allowed" in answer.json()["error"]


def test_answers_are_sent_at_once():
    async def delayed(listening: socket.socket) -> int:
        asked: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(note, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            found = await asked
            writer.close()
            return found

    assert asyncio.run(delayed(bound("127.0.0.1", 0)))


def test_a_client_that_has_gone_keeps_no_worker(recognizer):
    worked = []
    slow = Recognizer(recognizer.bundle, detector=lambda image: worked.append(1) or [])
    app, gone = application(slow), picture(20, 20)

    async def ask() -> None:
        messages = iter([{"type": "http.request", "body": gone}, {"type": "http.disconnect"}])

        async def receive():
            return next(messages, {"type": "http.disconnect"})

        async def send(_):
            pass

        scope = {"type": "http", "method": "POST", "path": "/faces", "query_string": b"", "headers": []}
        await app(scope, receive, send)

    anyio.run(ask)
    assert worked == []


def test_requests_beyond_the_most_are_asked_to_come_back():
    async def play() -> list[int]:
        codes, gate = [], anyio.Event()

        async def slow(scope, receive, send):
            await gate.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        async def note(message):
            if message["type"] == "http.response.start":
                codes.append(message["status"])
                assert (b"cache-control", b"no-store") in message["headers"]
                assert (message["status"] == 503) == ((b"retry-after", b"1") in message["headers"])

        guarded = Guard(slow, most=2)
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(guarded, {"type": "http", "path": "/faces"}, None, note)
            group.start_soon(guarded, {"type": "http", "path": "/health"}, None, note)
            await anyio.wait_all_tasks_blocked()
            gate.set()
        await guarded({"type": "http", "path": "/faces"}, None, note)
        return codes

    assert anyio.run(play) == [503, 200, 200, 200, 200]


@pytest.mark.parametrize(
    ("second", "code"), [({"type": "http.disconnect"}, 400), (None, 408), ({"type": "http.request"}, None)]
)
def test_a_body_that_breaks_off_or_stalls_holds_nobody_up(second, code):
    async def play() -> object:
        messages = iter([{"type": "http.request", "body": b"x", "more_body": True}, second])

        async def receive():
            return next(messages) or await anyio.sleep_forever()

        request = starlette.requests.Request({"type": "http", "headers": []}, receive)
        try:
            return bytes(await body(request, 10, seconds=0.1))
        except HTTPException as refused:
            return refused.status_code

    assert anyio.run(play) == (code or b"x")


DRIVE = """
const picture = await (await fetch("picture")).blob();
const dropped = new DataTransfer();
dropped.items.add(new File([picture], "it.png", { type: "image/png" }));
document.dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }));
const [status, licence] = ["status", "licence"].map((id) => document.getElementById(id));
const waiting = () => ["", "…"].includes(status.textContent) || !licence.textContent;
while (waiting()) await new Promise((done) => setTimeout(done, 20));
await fetch("shown", { method: "POST", body: document.documentElement.outerHTML });
"""


def driven(app, sent, shown):
    """The application, and `/drive`, its own page that drops a picture on itself and tells what it then shows."""

    async def call(scope, receive, send):
        if scope["path"] == "/shown":
            shown.put((await starlette.requests.Request(scope, receive).body()).decode())
            return await Response()(scope, receive, send)
        index = TestClient(app).get("/").content if scope["path"] == "/drive" else b""
        content = {
            "/drive": index.replace(b"</head>", b'<script type="module" src="drive.js"></script></head>'),
            "/drive.js": DRIVE.encode(),
            "/picture": sent,
        }.get(scope["path"])
        if content is None:
            return await app(scope, receive, send)
        kind = "text/javascript" if scope["path"] == "/drive.js" else "text/html"
        return await Response(content, media_type=kind)(scope, receive, send)

    return call


@contextmanager
def listening(app):
    """The address at which an application is served, in a thread of this process."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
@pytest.mark.parametrize(
    ("sent", "told"),
    [(picture(40, 60), "2 faces in"), (b"no picture", "not a whole PNG")],
    ids=["a picture", "no picture"],
)
def test_the_page_shows_what_the_server_answers(recognizer, tmp_path, sent, told):
    pages: queue.Queue[str] = queue.Queue()
    with listening(driven(application(recognizer), sent, pages)) as url:
        # A debugging port keeps the browser open until it is stopped.
        words = ["chromium", "--headless", "--no-sandbox", "--disable-dev-shm-usage", "--remote-debugging-port=0"]
        with (tmp_path / "said").open("w") as said:
            browser = subprocess.Popen([*words, f"--user-data-dir={tmp_path}", f"{url}/drive"], stderr=said)
        try:
            shown = pages.get(timeout=300)
        except queue.Empty:
            pytest.fail(f"the browser tells nothing: {(tmp_path / 'said').read_text()}")
        finally:
            browser.terminate()
            try:
                browser.wait(30)
            except subprocess.TimeoutExpired:
                browser.kill()
    assert recognizer.model in shown and told in shown
    assert shown.count("<li>") == (2 if "faces" in told else 0)


def test_a_model_that_cannot_take_whole_faces_answers_the_others(tmp_path, monkeypatch):
    monkeypatch.setenv("MIEN_MODELS", str(tmp_path))
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path))
    aligned = tiny.bundle(tmp_path / "a.onnx", chain=["grey", {"align": {"size": 48, "detector": "yunet"}}])
    with TestClient(application(Recognizer(aligned, detector=told))) as client:
        assert client.post("/faces", content=picture(40, 60)).status_code == 200
        refused = client.post("/faces?crop=whole", content=picture(40, 60))
    assert refused.status_code == 422 and "mien models pull yunet" in refused.json()["error"]


@pytest.mark.parametrize("place", ["/", "/model", "/nowhere"])
def test_every_answer_tells_the_browser_to_trust_this_server_alone(client, place):
    headers = client.get(place).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"


def test_many_at_once_get_their_own_answers(client):
    sent = [picture(20 + number, 30) for number in range(24)]
    alone = [client.post("/faces", content=each).json() for each in sent]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda each: client.post("/faces", content=each).json(), sent)) == alone


@pytest.fixture
def served():
    """A server of its own process, and its address."""
    code = "from mien.cli import main; main()"
    words = ["serve", "--port", "0", "--detector", "haar", "--megabytes", "1", "--json"]
    with subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            assert server.stdout is not None
            yield server, json.loads(line_of(server.stdout))
        finally:
            server.kill()


def test_the_command_serves_until_it_is_stopped(served):
    server, told = served
    assert told["model"].startswith("ferplus@")
    with httpx.Client(base_url=told["url"], timeout=120) as client:
        assert client.post("/faces?crop=whole", content=picture(48, 48)).json()["faces"]
        refused = client.post("/faces", content=bytes(9_000_000))
        assert refused.status_code == 413 and refused.json() == {"error": "a picture may have 1 MB"}
        assert client.get("/health").status_code == 200
        with socket.create_connection((httpx.URL(told["url"]).host, httpx.URL(told["url"]).port)):
            server.send_signal(signal.SIGINT)
            assert server.wait(120) == 130


def test_a_port_that_is_taken_and_a_host_that_is_none_are_told():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError, match="cannot listen"):
        serve("ferplus", "127.0.0.1", taken.getsockname()[1], "haar", 20)
    with pytest.raises(UsageError, match="no address is called"):
        serve("ferplus", "a..b", 0, "haar", 20)


def test_the_extra_is_named_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtra, match=r"mien\[serve\]"):
        serve("ferplus", "127.0.0.1", 0, "haar", 20)


@pytest.mark.parametrize("query", ["crop=hole", "croop=whole", "crop=whole&size=48"])
def test_a_query_that_says_nothing_is_refused(client, query):
    refused = client.post(f"/faces?{query}", content=picture(40, 60))
    assert refused.status_code == 422 and refused.json()["error"].startswith("query.")
