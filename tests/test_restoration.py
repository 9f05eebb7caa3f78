"""Restoration: interpolation, networks from files, and files from addresses, here a server of our own."""

import functools
import http.server
import socket
import threading
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from mien.errors import MienError, UsageError
from mien.imaging import models
from mien.imaging.chain import Chain
from mien.imaging.restoration import LEARNED, Restore

torch = pytest.importorskip("torch")
spandrel = pytest.importorskip("spandrel")

PICTURES = np.random.default_rng(0).integers(0, 256, (2, 30, 20, 3), np.uint8)


def restored(step, batch=PICTURES):
    return np.stack([step.apply(picture).pixels for picture in batch])


def of_file(restorer, path, **options):
    """The step with weights of one's own, and the checksum that they need."""
    return Restore(restorer, str(path), sha256(path.read_bytes()).hexdigest(), **options)


@pytest.fixture(scope="module")
def esrgan(tmp_path_factory) -> Path:
    """A small Real-ESRGAN, twice the size, in the layout of the published files."""
    from spandrel.architectures.ESRGAN import ESRGAN

    torch.manual_seed(0)
    network = ESRGAN(in_nc=12, out_nc=3, num_filters=8, num_blocks=1, scale=2, shuffle_factor=2)
    path = tmp_path_factory.mktemp("weights") / "RealESRGAN_x2plus.pth"
    torch.save({"params_ema": network.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def gfpgan(tmp_path_factory) -> Path:
    """GFPGAN at its full size, with random weights, in the layout of the published file."""
    from spandrel.architectures.GFPGAN import GFPGAN

    torch.manual_seed(0)
    network = GFPGAN(out_size=512)
    path = tmp_path_factory.mktemp("weights") / "GFPGANv1.4.pth"
    torch.save({"params_ema": network.state_dict()}, path)
    yield path
    path.unlink()


@pytest.mark.parametrize("name", ["bicubic", "lanczos"])
@pytest.mark.parametrize("shape", [(3, 20, 30), (1, 7, 5, 3)])
def test_interpolation_keeps_channels_and_needs_no_torch(name, shape):
    batch = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    found = restored(Restore(name, size=40), batch)
    assert found.shape == (shape[0], 40, 40, *shape[3:]) and found.dtype == np.uint8
    flat = np.full(shape, 77, np.uint8)
    assert (restored(Restore(name, size=40), flat) == 77).all()


def test_a_small_real_esrgan_restores_grey_and_colour_one_by_one(esrgan):
    step = of_file("realesrgan-x2", esrgan, device="cpu", size=60)
    found = restored(step)
    assert found.shape == (2, 60, 60, 3) and found.dtype == np.uint8
    np.testing.assert_array_equal(restored(step, PICTURES[1:])[0], found[1])
    assert restored(step, PICTURES[..., 0]).shape == (2, 60, 60, 3)


def test_a_full_size_gfpgan_answers_512_by_512_and_always_the_same(gfpgan):
    step = of_file("gfpgan-1.4", gfpgan, device="cpu")
    (first,) = restored(step, PICTURES[:1])
    assert first.shape == (512, 512, 3) and first.dtype == np.uint8 and first.std() > 0
    np.testing.assert_array_equal(restored(step, PICTURES[:1])[0], first)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"restorer": "bicubic", "device": "cpu"}, "takes no device"),
        ({"restorer": "lanczos", "weights": "a.pth", "sha256": "0" * 64}, "takes no weights or sha256"),
        ({"restorer": "realesrgan-x2", "sha256": "0" * 64}, "sha256 is that of weights of your own"),
    ],
)
def test_what_would_change_nothing_is_refused(parameters, said):
    with pytest.raises(UsageError, match=said):
        Chain.parse([{"restore": parameters}])
    plain = Chain.parse([{"restore": {"restorer": parameters["restorer"]}}])
    assert Chain.parse(plain.as_list()) == plain


def test_weights_of_ones_own_come_with_their_checksum(esrgan):
    with pytest.raises(UsageError) as caught:
        Chain.parse([{"restore": {"restorer": "realesrgan-x2", "weights": str(esrgan)}}])
    right = sha256(esrgan.read_bytes()).hexdigest()
    assert f"add sha256: {right}" in str(caught.value)
    parameters = {"restorer": "realesrgan-x2", "weights": str(esrgan), "sha256": right, "size": 50, "device": "cpu"}
    chain = Chain.parse([{"restore": parameters}, {"resize": 24}])
    assert chain.size == (24, 24) and chain.channels == 3
    assert Chain.parse([{"restore": {**parameters, "sha256": "0" * 64}}]).digest != chain.digest
    assert chain.run(PICTURES[0]).pixels.shape == (24, 24, 3)
    with pytest.raises(MienError, match="not the file that was asked for"):
        Chain.parse([{"restore": {**parameters, "sha256": "0" * 64}}]).run(PICTURES[0])


def test_the_published_file_is_taken_from_its_folder_without_being_named(esrgan, monkeypatch):
    data = esrgan.read_bytes()
    file = replace(models.MODELS["realesrgan-x2"], sha256=sha256(data).hexdigest(), size=len(data))
    monkeypatch.setitem(models.MODELS, "realesrgan-x2", file)
    monkeypatch.setenv("MIEN_MODELS", str(esrgan.parent))
    by_path = of_file("realesrgan-x2", esrgan, device="cpu", size=60)
    by_name = Restore("realesrgan-x2", device="cpu", size=60)
    np.testing.assert_array_equal(restored(by_name), restored(by_path))


@pytest.mark.parametrize("name", LEARNED)
def test_without_the_file_the_error_gives_address_checksum_and_folder(name, tmp_path, monkeypatch):
    monkeypatch.setenv("MIEN_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    with pytest.raises(MienError) as caught:
        restored(Restore(name))
    for part in (models.MODELS[name].address, models.MODELS[name].sha256, str(tmp_path / "models"), f"pull {name}"):
        assert part in str(caught.value)


class _Reducing:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


@pytest.mark.parametrize("kind", ["pickle", "text", "nothing", "safetensors", "other network"])
def test_a_file_that_is_no_restorer_is_refused_and_nothing_in_it_runs(kind, tmp_path):
    path, trace = tmp_path / ("x.safetensors" if kind == "safetensors" else "x.pth"), tmp_path / "touched"
    if kind == "pickle":
        torch.save({"params_ema": _Reducing(trace)}, path)
    elif kind == "other network":
        torch.save({"weight": torch.zeros(2, 2)}, path)
    else:
        path.write_bytes(b"" if kind == "nothing" else b"text")
    with pytest.raises(MienError, match=path.name):
        restored(of_file("gfpgan-1.4", path, device="cpu"))
    assert not trace.exists()


def test_a_device_that_is_not_there_and_a_file_that_is_not_are_refused(esrgan, tmp_path):
    with pytest.raises(MienError, match="no file"):
        restored(Restore("gfpgan-1.4", str(tmp_path / "absent.pth"), "0" * 64))
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no CUDA"):
            restored(of_file("realesrgan-x2", esrgan, device="cuda"))
        return
    by_cpu, by_cuda = (restored(of_file("realesrgan-x2", esrgan, device=device)) for device in ("cpu", "cuda"))
    assert np.abs(by_cpu.astype(int) - by_cuda).max() <= 2


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Files with ranges; `breaks` ends the first answer after so many bytes."""

    breaks: int | None = None
    asked: list[str | None] = []  # noqa: RUF012

    def do_GET(self):
        data = Path(self.directory, self.path.lstrip("/")).read_bytes()
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.end_headers()
        stop, type(self).breaks = self.breaks, None
        self.wfile.write(data[start : start + stop] if stop else data[start:])

    def log_message(self, *_):
        pass


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A file of two megabytes behind an address, pinned under the name `gfpgan-1.4`; its content and the server."""
    content = np.random.default_rng(0).bytes(2_000_000)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "model.pth").write_bytes(content)
    handler = type("Handler", (_Ranges,), {"asked": [], "breaks": None})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(tmp_path / "site"))
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    file = replace(
        models.MODELS["gfpgan-1.4"],
        address=f"http://127.0.0.1:{server.server_port}/model.pth",
        sha256=sha256(content).hexdigest(),
        size=len(content),
    )
    monkeypatch.setitem(models.MODELS, "gfpgan-1.4", file)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("MIEN_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    yield content, handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_pull_fetches_checks_and_does_not_fetch_twice(published):
    content, handler = published
    seen: list[tuple[int, int]] = []
    path = models.pull("gfpgan-1.4", progress=lambda *at: seen.append(at))
    assert path.read_bytes() == content and models.find("gfpgan-1.4") == path
    assert seen[-1] == (len(content), len(content)) and seen == sorted(seen)
    models.pull("gfpgan-1.4")
    assert len(handler.asked) == 1 and [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_broken_transfer_goes_on_where_it_stopped(published):
    content, handler = published
    handler.breaks = 700_000
    with pytest.raises(MienError, match="broke off") as caught:
        models.pull("gfpgan-1.4")
    assert models.MODELS["gfpgan-1.4"].sha256 in str(caught.value) and models.present("gfpgan-1.4") is None
    assert models.pull("gfpgan-1.4").read_bytes() == content
    assert handler.asked == [None, "bytes=700000-"]


def test_another_file_than_the_published_one_is_not_kept(published, tmp_path):
    (tmp_path / "site" / "model.pth").write_bytes(bytes(2_000_000))
    with pytest.raises(MienError, match="did not give the published file"):
        models.pull("gfpgan-1.4")
    assert list((tmp_path / "models").iterdir()) == []


def test_an_address_out_of_reach_says_what_to_bring_and_where(published, monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    file = replace(models.MODELS["gfpgan-1.4"], address=f"http://127.0.0.1:{port}/model.pth")
    monkeypatch.setitem(models.MODELS, "gfpgan-1.4", file)
    with pytest.raises(MienError, match="cannot fetch") as caught:
        models.pull("gfpgan-1.4")
    assert file.address in str(caught.value) and str(tmp_path / "models") in str(caught.value)
    with pytest.raises(UsageError, match="unknown model file"):
        models.pull("gfpgan")
