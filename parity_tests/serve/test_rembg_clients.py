"""`/api/remove`: what clients of rembg's server send, and the pixels that rembg answers.

The goldens are the answers of rembg 2.0.86's own server; see `support.rembg_cases`. Nothing of rembg is needed here.
"""

import io
import json
import shutil
import signal
import subprocess
from pathlib import Path

import httpx2
import numpy as np
import pytest
import requests
from PIL import Image
from support.data import NANO
from support.photographs import photograph
from support.rembg_cases import CASES, NANO_CASE, ask, digest, formula, goldens, photograph_bytes, samples
from support.serving import png_of_zeros, served

RECORDED = goldens()["answers"]
LIMITS = ("--timeout", "240", "--max-bytes", "2000000", "--max-pixels", "1000000")
CAT = photograph_bytes("cat")
LARGE = io.BytesIO()
photograph("astronaut.png").resize((800, 800)).save(LARGE, "PNG")


@pytest.fixture(scope="module")
def model(store) -> Path:
    return store.once("a formula for rembg", lambda folder: formula(folder / "formula.onnx"))


@pytest.fixture(scope="module")
def server(model):
    with served(model, "--input", "normalised", *LIMITS) as running:
        yield running


def recorded(name: str) -> np.ndarray:
    """The samples of rembg's answer, (n, 4)."""
    return np.frombuffer(bytes.fromhex(RECORDED[name]["samples"]), np.uint8).reshape(-1, 4).astype(int)


@pytest.mark.parametrize("case", [case for case in CASES if not case.estimated], ids=lambda case: case.name)
def test_every_pixel_is_rembgs(server, case):
    picture = ask(server.base, case)
    assert list(picture.size) == RECORDED[case.name]["size"]
    assert digest(picture) == RECORDED[case.name]["sha256"]


@pytest.mark.parametrize("case", [case for case in CASES if case.estimated], ids=lambda case: case.name)
def test_where_colours_and_alpha_are_estimated_they_are_rembgs(server, case):
    """An iteration in floating point; on the processor that recorded it every pixel is equal (2026-11-26)."""
    assert np.abs(samples(ask(server.base, case)).astype(int) - recorded(case.name)).max() <= 1


def test_a_real_networks_mask_is_rembgs():
    """In another runtime than rembg's: a value next to a whole number may fall to either side of it."""
    with served(NANO, "--runtime", "torch", "--profile", "rembg") as running:
        apart = np.abs(samples(ask(running.base, NANO_CASE)).astype(int) - recorded("u2net_nano"))
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.01


# The clients that rembg's documentation shows, and those that people write.


@pytest.fixture(scope="module")
def cat_file(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("photograph") / "input.png"
    file.write_bytes(CAT)
    return file


def assert_is(case: str, content: bytes) -> None:
    assert digest(Image.open(io.BytesIO(content))) == RECORDED[case]["sha256"]


def curl(*arguments: str, **more) -> subprocess.CompletedProcess:
    if not shutil.which("curl"):
        pytest.skip("needs the program curl")
    return subprocess.run(["curl", "-s", *arguments], capture_output=True, timeout=60, **more)


def test_curl_with_a_file(server, cat_file, tmp_path):
    done = curl("-F", f"file=@{cat_file}", f"{server.base}/api/remove", "-o", str(tmp_path / "output.png"))
    assert done.returncode == 0
    assert_is("cat", (tmp_path / "output.png").read_bytes())


def test_curl_with_a_file_on_standard_input_is_what_a_url_was_for(server, cat_file):
    """What the answer to `?url=` tells to do, with a file: address."""
    first = subprocess.Popen(["curl", "-s", cat_file.as_uri()], stdout=subprocess.PIPE)
    done = curl("-F", "file=@-", f"{server.base}/api/remove", stdin=first.stdout)
    first.wait()
    assert_is("cat", done.stdout)


def test_curl_with_options_in_the_form(server, cat_file):
    fields = [part for text in ("om=true", "ppm=true", "model=u2net_custom") for part in ("-F", text)]
    assert_is("cat om=true ppm=true", curl("-F", f"file=@{cat_file}", *fields, f"{server.base}/api/remove").stdout)


def test_requests_with_a_file_and_data(server):
    answer = requests.post(f"{server.base}/api/remove", files={"file": CAT}, data={"om": True, "ppm": True}, timeout=60)
    assert_is("cat om=true ppm=true", answer.content)


def test_httpx_with_files_data_and_params(server):
    with httpx2.Client(base_url=server.base, timeout=60) as client:
        answer = client.post(
            "/api/remove", files={"file": ("a.png", CAT, "image/png")}, data={"a": "false", "om": "0"},
            params={"bgc": "30,200,90,255"},
        )  # fmt: skip
    assert_is("cat bgc=30,200,90,255", answer.content)


def test_options_may_all_stand_in_the_query(server):
    """rembg reads `bgc` and `extras` from the query of a POST and the others from its form alone."""
    answer = server.post(files={"file": CAT}, path="/api/remove?om=true&ppm=yes")
    assert_is("cat om=true ppm=true", answer.content)
    assert_is("cat", server.post(files={"file": CAT}, path="/api/remove?bgc=&extras=&dc=false&vm=false").content)


def test_the_photographs_bytes_alone_will_do(server):
    assert_is("cat", server.post(CAT, path="/api/remove").content)


# What is refused, and how.


def sent(server, **parts) -> requests.Response:
    """The cat, or other files, in a form."""
    return requests.post(f"{server.base}/api/remove", timeout=240, **{"files": {"file": CAT}, **parts})


def refused(answer: requests.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert "\n" not in answer.json()["error"]
    return answer.json()["error"]


@pytest.mark.parametrize("url", ["http://example.org/a.png", "http://127.0.0.1:1/", "file:///etc/passwd", ""])
def test_no_address_is_fetched_and_what_to_do_is_said(server, url):
    words = refused(server.get("/api/remove", params={"url": url, "om": "true"}), 400)
    assert words.startswith(
        "url: this server fetches no address; send the photograph: curl -s ADDRESS | curl -s -F file"
    )


def test_a_get_without_an_address_is_told_how_photographs_are_sent(server):
    assert "sent with POST" in refused(server.get("/api/remove"), 422)


ODD = {
    "birefnet": ({"model": "birefnet-general"}, 422, "is no network of the U²-Net family; models: u2net, u2netp,"),
    "bria": ({"model": "bria-rmbg"}, 422, "u2net_custom, dis_custom"),
    "sam": ({"model": "sam"}, 422, "isnet-general-use"),
    "a slip": ({"model": "u2nett"}, 422, "did you mean 'u2net"),
    "a path": ({"model": "../../etc/passwd"}, 422, "unknown model"),
    "weights that are not here": ({"model": "silueta"}, 503, "u2zoo fetch silueta"),
    "weights of another network": ({"model": "dis_custom"}, 422, "not known as IS-Net's; leave model out"),
    "vitmatte": ({"vm": "true"}, 422, "vitmatte (vm): that network is not here; alpha_matting (a)"),
    "no flag": ({"om": "maybe"}, 422, "option 'om': 'maybe' is not true or false"),
    "no number": ({"a": "true", "ae": "1.5"}, 422, "option 'ae': '1.5' is not a whole number"),
    "beyond": ({"a": "true", "af": "256"}, 422, "grey levels from 0 to 255"),
    "no colour": ({"bgc": "red"}, 422, "R,G,B,A of 0 to 255"),
    "a colour beyond": ({"bgc": "0,0,0,256"}, 422, "R,G,B,A of 0 to 255"),
    "four numbers and more": ({"bgc": "0,0,0,1,2"}, 422, "R,G,B,A of 0 to 255"),
    "no JSON": ({"extras": "{"}, 422, "allowed is a JSON object"),
    "no object": ({"extras": "[1]"}, 422, "allowed is a JSON object"),
    "deep JSON": ({"extras": "[" * 9000}, 422, "allowed is a JSON object"),
    "a file of the server's": ({"extras": '{"model_path": "/etc/passwd"}'}, 422, "u2zoo serve --model FILE"),
    "a prompt": ({"extras": '{"sam_prompt": []}'}, 422, "allowed are putalpha, cc, cloth_category"),
    "garments of a mask": ({"extras": '{"cc": "upper"}'}, 422, "goes with the model u2net_cloth_seg"),
    "no garment": ({"extras": '{"cc": "hat"}'}, 422, "upper, lower, full, attire"),
    "one of several pictures": ({"picture": "zzz"}, 422, "unknown option 'picture'; options: a, ab, ae, af, bgc"),
    "an option that is none": ({"size": "3"}, 422, "unknown option 'size'; options: a, ab, ae, af, bgc"),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("place", ["form", "query"])
def test_what_cannot_be_is_one_line(server, name, place):
    options, status, words = ODD[name]
    assert words in refused(sent(server, **{"data" if place == "form" else "params": options}), status)


def test_an_option_comes_once(server):
    twice = sent(server, params={"om": "true"}, data={"om": "true"})
    assert "'om' came more than once" in refused(twice, 422)
    both = sent(server, params={"model": "u2net"}, data={"model": "u2net"})
    assert "'model' came more than once" in refused(both, 422)


@pytest.mark.parametrize(
    ("files", "status", "words"),
    [
        ({"image": CAT}, 400, "send one file 'file'"),
        ({"file": CAT, "other": CAT}, 422, "file 'other': remove takes no file but file"),
        ({"file": b"hello"}, 400, "not a photograph"),
        ({"file": b""}, 400, "the body is empty"),
        ({"file": CAT[:3000]}, 400, "cannot be decoded"),
        ({"file": png_of_zeros(1001, 1000)}, 413, "1000000 are allowed"),
        ({"file": bytes(3_000_000)}, 413, "2000000 bytes"),
    ],
    ids=["another name", "one more", "no photograph", "nothing", "cut short", "pixels", "bytes"],
)
def test_the_servers_limits_hold_here_too(server, files, status, words):
    assert words in refused(sent(server, files=files), status)


def test_a_form_of_very_many_fields_or_a_very_long_one_is_refused(server):
    many = sent(server, data={f"f{n}": "1" for n in range(40)})
    assert "the form cannot be read: Too many fields" in refused(many, 400)
    long = sent(server, data={"extras": " " * 20_000})
    assert "the form cannot be read" in refused(long, 400)


@pytest.mark.parametrize("form", [{}, {"dc": "true"}, pytest.param({"a": "true"}, marks=pytest.mark.full)], ids=str)
def test_a_photograph_beyond_half_a_megapixel_is_cut_out_too(server, form):
    """Colours and alpha are worked out at 2^19 pixels then; see `cutout`."""
    answer = sent(server, files={"file": LARGE.getvalue()}, data=form)
    picture = Image.open(io.BytesIO(answer.content))
    assert (picture.mode, picture.size) == ("RGBA", (800, 800))
    levels = np.asarray(picture.getchannel("A"))
    assert 0 < levels.mean() < 255


def test_the_answer_is_a_picture_whatever_a_client_says_that_it_accepts(server):
    """As rembg's; axios, for one, says this."""
    accepts = {"Accept": "application/json, text/plain, */*"}
    assert_is("cat", server.post(files={"file": CAT}, path="/api/remove", headers=accepts).content)


def test_the_route_is_described(server):
    assert json.loads(server.get("/openapi.json").text)["paths"]["/api/remove"]["post"]["requestBody"]["required"]
    assert "POST /api/remove" in server.get("/docs").text


def test_the_server_has_written_no_error(server):
    """Last of the tests of this server."""
    assert server.stop(signal.SIGINT) == 0
    assert server.process.stderr.read() == ""
