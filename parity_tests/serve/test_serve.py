"""`u2zoo serve`: real photographs and real nonsense over real connections."""

import io
import signal
import socket
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image, ImageCms
from skimage import data
from support.commands import called
from support.serving import png_of_zeros, served, shared_model

from u2net_zoo import Session
from u2net_zoo.apps import APPLICATIONS

LIMITS = ("--timeout", "3", "--max-bytes", "2000000", "--max-pixels", "1000000", "--queue", "4")


def encoded(picture: Image.Image, kind: str = "PNG", **more) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **more)
    return buffer.getvalue()


CAT = Image.fromarray(data.chelsea())
JPEG = encoded(CAT, "JPEG")
ZIP = io.BytesIO()
with zipfile.ZipFile(ZIP, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("zeros", bytes(100 << 20))


@pytest.fixture(scope="module")
def model(small, store) -> Path:
    return shared_model(small, store)


@pytest.fixture(scope="module")
def server(model):
    with served(model, *LIMITS) as running:
        yield running


def picture(answer: requests.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return Image.open(io.BytesIO(answer.content))


@pytest.mark.parametrize("way", ["bytes", "form"])
def test_the_mask_is_the_sessions_own(server, model, way):
    answer = server.post(JPEG) if way == "bytes" else server.post(files={"image": JPEG})
    wanted = Session(model).mask(Image.open(io.BytesIO(JPEG)))
    assert np.array_equal(np.asarray(picture(answer)), np.asarray(wanted))


def test_photographs_stand_upright(server):
    exif = Image.Exif()
    exif[0x112] = 6
    assert picture(server.post(encoded(CAT, "JPEG", exif=exif))).size == (CAT.height, CAT.width)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "I;16", "1"])
def test_photographs_of_every_mode(server, mode):
    image = Image.fromarray(data.coins().astype(np.uint16) * 257) if mode == "I;16" else CAT.convert(mode)
    assert picture(server.post(encoded(image, "TIFF"))).size == image.size


def test_what_shows_the_photograph_keeps_its_colour_profile(server):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    body = encoded(CAT.resize((90, 60)), "JPEG", icc_profile=profile)
    assert picture(server.post(body, "/api/highlight")).info["icc_profile"] == profile
    assert "icc_profile" not in picture(server.post(body)).info
    assert picture(server.post(encoded(CAT.convert("CMYK"), "JPEG"), "/api/crop")).mode == "RGB"  # PNG has no CMYK


def test_a_mask_beside_a_result_keeps_nothing_of_the_photograph(server):
    exif = Image.Exif()
    exif[0x10E] = "where it was taken"
    body = encoded(CAT, "JPEG", exif=exif)
    assert picture(server.post(body, "/api/crop")).getexif()
    assert not picture(server.post(body, "/api/crop?picture=_mask")).getexif()


def test_who_accepts_json_alone_gets_the_facts(server):
    told = server.post(JPEG, headers={"Accept": "application/json"}).json()
    assert told["size"] == [451, 300]
    assert told["application"] == "mask"
    assert told["pictures"] == [""]


def test_every_application_is_an_address(server):
    paths = server.get("/openapi.json").json()["paths"]
    assert {f"/api/{name}" for name in (*APPLICATIONS, "remove")} | {"/health"} == set(paths)
    assert server.get("/health").json()["applications"] == list(APPLICATIONS)
    assert all(f"POST /api/{name}" in server.get("/docs").text for name in APPLICATIONS)


BROKEN = {
    "nothing": (b"", "", 400, "empty"),
    "no photograph": (b"hello", "", 400, "not a photograph"),
    "a truncated JPEG": (JPEG[:9000], "", 400, "cannot be decoded"),
    "a zip bomb": (ZIP.getvalue(), "", 400, "not a photograph"),
    "an SVG with an address in it": (b'<svg xmlns="x"><image href="http://a/b"/></svg>', "", 400, "not a photograph"),
    "an EPS program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run", "", 400, "not a photograph"),
    "a bomb of pixels": (png_of_zeros(30_000, 3000), "", 413, "30000x3000"),
    "30,000 pixels wide": (png_of_zeros(30_000, 1), "", 413, "sides of 1 to 20000"),
    "too many pixels": (png_of_zeros(1001, 1000), "", 413, "1000000 are allowed"),
    "too many bytes": (bytes(3_000_000), "", 413, "2000000 bytes"),
    "an option that is none": (JPEG, "?matting=1", 422, "unknown option 'matting'"),
    "a picture that is none": (JPEG, "?picture=_x", 422, "no picture '_x'"),
    "an application that is none": (JPEG, "/../mash", 404, "did you mean 'mask'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_said_in_one_line(server, name):
    body, end, status, words = BROKEN[name]
    answer = server.post(body, "/api/mash" if "mash" in end else "/api/mask" + end)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_a_body_without_a_length_is_cut_off_too(server):
    answer = server.post(iter([bytes(1 << 20)] * 8))
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"files": {"photo": JPEG}}, "send one file 'image'"),
        ({"files": {"image": JPEG}, "data": {"margin": "1"}}, "options go into the query"),
        ({"files": [("image", JPEG), ("image", JPEG)]}, "each name only once"),
        ({"data": b"--x", "headers": {"Content-Type": "multipart/form-data; boundary=y"}}, "cannot be read"),
        ({"data": b"--x", "headers": {"Content-Type": "multipart/form-data"}}, "cannot be read"),
    ],
)
def test_a_form_that_is_wrong_says_how(server, parts, words):
    answer = requests.post(server.base + "/api/mask", timeout=20, **parts)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_bombs_cost_no_memory(server):
    """Measured 2026-11-21: 0.5 MB, for pictures of 0.9 and 0.8 gigapixels and an archive of 100 MB."""
    server.post(JPEG)
    moving = bytearray(encoded(CAT, "WEBP", save_all=True, append_images=[CAT.rotate(90)]))
    place = moving.index(b"VP8X") + 12
    moving[place : place + 6] = (16_383).to_bytes(3, "little") * 2  # its canvas; no frame is as large
    tiff = encoded(Image.new("1", (20_000, 20_000)), "TIFF", compression="group4")
    before = server.megabytes
    for bomb in (png_of_zeros(30_000, 30_000), tiff, bytes(moving)):
        assert server.post(bomb).status_code == 413
    assert server.post(ZIP.getvalue()).status_code == 400
    assert server.megabytes - before < 20


def connection(server) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=20)


HEAD = b"POST /api/mask HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"


def test_a_body_that_does_not_arrive_is_given_up(server):
    start = time.monotonic()
    with connection(server) as slow:
        slow.sendall(HEAD + b"x")
        assert slow.recv(1000).startswith(b"HTTP/1.1 408")
    assert 2.5 < time.monotonic() - start < 6


def test_a_head_that_does_not_arrive_is_given_up_however_it_trickles(server):
    with connection(server) as slow:
        start, gone = time.monotonic(), False
        while not gone and time.monotonic() - start < 10:
            try:
                slow.sendall(b"P" if time.monotonic() - start < 0.1 else b"O")
                time.sleep(0.3)
            except OSError:
                gone = True
        assert gone
        assert 2.5 < time.monotonic() - start < 6


def test_a_client_that_hangs_up_harms_nobody(server):
    for _ in range(5):
        with connection(server) as gone:
            gone.sendall(HEAD + b"x" * 500)
    assert picture(server.post(JPEG)).size == CAT.size


def test_a_full_queue_says_when_to_come_back(server):
    """Sixteen at once, of which four may be inside."""
    large = encoded(CAT.resize((1200, 800)), "JPEG")
    answers: list[requests.Response] = []
    threads = [threading.Thread(target=lambda: answers.append(server.post(large))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 503}
    assert all(int(a.headers["retry-after"]) > 0 for a in answers if a.status_code == 503)
    assert server.post(JPEG).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost.evil.example:80"}, 403),
        ({"Host": "localhost:1"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ({"Host": "localhost:1", "Origin": "http://evil.localhost:1"}, 403),
        ({"Origin": "http://[::1"}, 403),
        ({"Host": "[::1"}, 403),
    ],
)
def test_other_sites_cannot_ask(server, headers, status):
    """A page whose name was rebound to this machine, and a page that posts to it."""
    assert server.get("/health", headers=headers).status_code == status


ADDRESSES = ("/", "/docs", "/openapi.json", "/health", "/page/app.js", "/page/style.css", "/page/icon.svg")


@pytest.mark.parametrize("path", [*ADDRESSES, "/nothing", "/api/mask"])
def test_every_answer_says_that_nothing_foreign_is_loaded(server, path):
    answer = server.get(path)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers


def test_no_page_names_another_server(server):
    for path in ADDRESSES:
        text = server.get(path).text.replace("http://www.w3.org/2000/svg", "").replace("http://127.0.0.1:8000", "")
        assert "http://" not in text, path
        assert "https://" not in text, path


@pytest.mark.parametrize(
    "path", ["/page/%00", "/page/..%2f..%2fcli/main.py", "/page/" + "a" * 5000, "/page", "/%ff", "/api/%00"]
)
def test_odd_addresses_are_not_found(server, path):
    assert server.get(path).status_code in (404, 405)


def test_the_server_has_written_no_error(server):
    """What stands in its log would be a fault of ours; last of the tests of this server."""
    assert server.stop(signal.SIGINT) == 0
    assert server.process.stderr.read() == ""
    assert server.process.stdout.read() == "ended\n"


def test_it_ends_while_a_client_is_still_sending(model):
    with served(model, *LIMITS) as running, connection(running) as sending:
        sending.sendall(HEAD)
        start = time.monotonic()
        assert running.stop(signal.SIGTERM) == 0
        assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--max-pixels", "0"], "--max-pixels 0"),
        (["--timeout", "nan"], "--timeout nan"),
        (["--queue", "-1"], "--queue -1"),
        (["--port", "70000"], "--port 70000"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
        (["--profile", "papier"], "did you mean 'paper'"),
        (["--runtime", "onxx"], "did you mean 'onnx'"),
        (["--model", "nothing.onnx"], "nothing.onnx: no such file"),
    ],
)
def test_what_it_cannot_do_is_said_at_once(options, words):
    done = called("serve", "--port", "0", *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_said(model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = called("serve", "--model", model, "--port", taken.getsockname()[1])
    assert done.returncode == 2
    assert "Address already in use" in done.stderr
