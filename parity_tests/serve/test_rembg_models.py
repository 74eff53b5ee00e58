"""rembg's names of models and its Python functions over this project's sessions."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.lasting import full_for
from support.photographs import photograph
from support.rembg_cases import CASES, Case, digest, formula, goldens, photograph_bytes, samples

from converters.torch_predictor import TorchPredictor
from u2net_zoo import Session
from u2net_zoo.apps.foreground import object_colours
from u2net_zoo.apps.removal import Removal
from u2net_zoo.catalog import bundled, load_catalog
from u2net_zoo.errors import ImageError, OptionError, UnknownNameError
from u2net_zoo.preprocessing import PROFILES
from u2net_zoo.rembg import new_session, remove
from u2net_zoo.rembg_models import CUSTOM, ELSEWHERE, MODELS, check_name, fed_as_rembg, is_isnet
from u2net_zoo.serve.limits import RefusalError
from u2net_zoo.serve.query import chosen
from u2net_zoo.serve.rembg_route import kind_of, removal_of
from u2net_zoo.serve.sessions import Sessions
from u2net_zoo.session import MaskSession

# How rembg 2.0.86 feeds each of its models: side, mean, deviation. Read in its sources, and run in test_rembg_itself.
FED = {
    "u2net": (320, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "u2netp": (320, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "u2net_human_seg": (320, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "silueta": (320, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "isnet-general-use": (1024, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0)),
    "isnet-anime": (1024, (0.485, 0.456, 0.406), (1.0, 1.0, 1.0)),
}


@pytest.fixture(scope="module")
def plain(small) -> MaskSession:
    return MaskSession(TorchPredictor(small), PROFILES["paper"])


@pytest.mark.parametrize("name", FED)
def test_each_model_is_fed_as_rembg_feeds_it(plain, name):
    profile = fed_as_rembg(plain, name).profile
    assert (profile.size, profile.mean, profile.std) == FED[name]
    assert profile.by_maximum
    assert profile.stretch
    assert profile.mask_filter == Image.Resampling.LANCZOS


def test_every_name_is_one_of_the_catalogs():
    assert set(MODELS) <= set(load_catalog(bundled("catalog.toml")))
    assert set(FED) == {name for name, profile in MODELS.items() if profile}
    assert not set(ELSEWHERE) & {*MODELS, *CUSTOM}


def test_others_are_fed_as_the_catalog_says_and_files_as_custom_ones(plain, tmp_path):
    assert fed_as_rembg(plain, "u2net_nano") is plain
    assert fed_as_rembg(plain, "u2net_cloth_seg") is plain
    assert fed_as_rembg(plain, str(tmp_path / "mine.onnx")).profile.name == "rembg"


@pytest.mark.parametrize(
    ("own", "profile", "asked", "wanted"),
    [
        ("mine.onnx", None, "", 320),
        ("mine.onnx", None, "u2net_custom", 320),
        ("mine.onnx", "isnet", "dis_custom", 1024),
        ("mine.onnx", "portrait", "", 512),
        ("u2net_nano", None, "", "paper"),
    ],
)
def test_the_servers_own_weights_are_fed_by_what_they_are_called_unless_a_profile_is_named(
    small, own, profile, asked, wanted
):
    opened = []

    def session(source, named):
        opened.append(source)
        return MaskSession(TorchPredictor(small), PROFILES[named or "paper"])

    fed = Sessions(session, Path(own), profile)(kind_of(asked)).profile
    assert wanted in (fed.size, fed.name)
    assert opened == [own]


@pytest.mark.parametrize("own", ["mine.onnx", "u2net_nano", "u2net"])
def test_weights_that_are_not_of_isnet_are_never_fed_as_isnet(plain, own):
    sessions = Sessions(lambda source, named: plain, own, None)
    sessions.open_model()
    with pytest.raises(RefusalError, match="are not known as IS-Net's; leave model out, or start it so") as refused:
        sessions(kind_of("dis_custom"))
    assert refused.value.status == 422


def test_a_file_whose_input_is_of_isnets_size_is_taken_for_one(small):
    predictor = TorchPredictor(small)
    predictor.size = (1024, 1024)
    assert is_isnet(MaskSession(predictor, PROFILES["paper"]), "mine.onnx")
    assert not is_isnet(MaskSession(TorchPredictor(small), PROFILES["paper"]), "mine.onnx")


@pytest.mark.parametrize(("source", "known"), [("isnet-general-use", True), ("isnet-anime", True), ("silueta", False)])
def test_of_names_the_catalog_knows_the_network(plain, source, known):
    sessions = Sessions(lambda source, named: plain, source, None)
    sessions.open_model()
    assert is_isnet(plain, source) == known
    if known:
        assert sessions(kind_of("dis_custom")).profile.size == 1024


def test_a_name_that_rembg_has_and_we_have_not_says_what_there_is():
    with pytest.raises(OptionError, match="'sam' is no network of the U²-Net family; models: u2net, u2netp"):
        check_name("sam")
    with pytest.raises(UnknownNameError, match="did you mean 'silueta'"):
        check_name("siluetta")


@pytest.mark.parametrize(("asked", "count"), [(None, 3), ("upper", 1), ("lower", 1), ("full", 1), ("attire", 1)])
def test_clothes_are_one_below_the_other_or_the_kind_that_is_asked_for(asked, count):
    """A map of four rows: background, upper, lower and full body."""
    labels = Image.fromarray(np.repeat(np.arange(4, dtype=np.uint8), 8).reshape(4, 8))
    labels.putpalette([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    image = Image.new("RGB", labels.size, "red")
    application = Removal(cloth_category=asked, only_mask=True)
    rows = np.asarray(application.after(image, labels).pictures[""])[:, 0]
    found = {None: [1, 6, 11], "upper": [1], "lower": [2], "full": [3], "attire": [1, 2, 3]}[asked]
    assert len(rows) == 4 * count
    assert np.flatnonzero(rows).tolist() == found
    assert Removal(cloth_category=asked).after(image, labels).pictures[""].mode == "RGBA"


def test_where_matting_has_no_answer_the_edge_gets_its_own_colours_all_the_same(monkeypatch):
    """What PyMatting itself does there is compared with rembg's answers below, compiled."""
    monkeypatch.setattr("u2net_zoo.apps.removal.WORKING", 0)  # colours are then estimated without PyMatting
    monkeypatch.setattr("u2net_zoo.apps.removal.matted", lambda *arguments: None)
    cat = photograph("chelsea.png", 64)
    mask = Image.linear_gradient("L").resize(cat.size)
    found = Removal(alpha_matting=True).after(cat, mask).pictures[""]
    wanted = object_colours(cat, mask)
    wanted.putalpha(mask)
    assert np.array_equal(np.asarray(found), np.asarray(wanted))


# The Python functions.


@pytest.fixture(scope="module")
def session(store) -> MaskSession:
    model = store.once("a formula for rembg", lambda folder: formula(folder / "formula.onnx"))
    return fed_as_rembg(Session(model, takes="normalised"), str(model))


RECORDED = goldens()["answers"]
PLAIN = [case for case in CASES if case.photograph in ("cat", "RGBA", "upright", "L") and "extras" not in case.query]


def arguments(case: Case) -> dict:
    """What a case is in Python."""
    kind, options = removal_of([*case.form.items(), *case.query.items()])
    found = vars(chosen(kind, options, {})).copy()
    colour = found.pop("bgcolor")
    return {**found, "bgcolor": colour and tuple(map(int, colour.split(",")))}


@pytest.mark.parametrize(
    "case", full_for(PLAIN, *(case for case in PLAIN if case.estimated)), ids=lambda case: case.name
)
def test_remove_gives_what_rembgs_server_answers(session, case):
    png = remove(photograph_bytes(case.photograph), session=session, **arguments(case))
    picture = Image.open(io.BytesIO(png))
    if case.estimated:
        wanted = bytes.fromhex(RECORDED[case.name]["samples"])
        assert np.abs(samples(picture).astype(int).ravel() - np.frombuffer(wanted, np.uint8)).max() <= 1
    else:
        assert digest(picture) == RECORDED[case.name]["sha256"]


def test_what_comes_goes_in_the_same_form(session):
    wanted = RECORDED["cat"]["sha256"]
    image = Image.open(io.BytesIO(photograph_bytes("cat")))
    picture, array = remove(image, session=session), remove(np.asarray(image), session=session)
    assert digest(picture) == digest(Image.fromarray(array)) == wanted
    assert array.shape == (*image.size[::-1], 4)
    assert digest(Image.open(io.BytesIO(remove(image, session=session, force_return_bytes=True)))) == wanted
    assert image.mode == "RGB"  # the caller's stays as it is


def test_a_picture_that_lies_on_its_side_is_turned(session):
    turned = Image.open(io.BytesIO(photograph_bytes("upright")))
    assert digest(remove(turned, session=session)) == RECORDED["upright"]["sha256"]


def test_without_a_session_the_bundled_network_is_taken():
    cat = photograph("chelsea.png", 160)
    assert np.array_equal(remove(cat, only_mask=True), Session("u2net_nano").mask(cat))


def test_custom_weights_may_lie_anywhere(nano_made):
    path = nano_made.one("onnx").path
    assert new_session("u2net_custom", model_path=path).profile.name == "rembg"
    assert new_session("dis_custom", model_path=path).profile.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: new_session("birefnet-dis"), "no network of the U²-Net family"),
        (lambda: new_session(providers=["CUDAExecutionProvider"]), "providers: not here; .* device='cuda'"),
        (lambda: new_session("u2net_custom"), "model_path None: goes with u2net_custom"),
        (lambda: new_session("u2net", model_path="a.onnx"), "not with 'u2net'"),
        (lambda: remove(b"", vitmatte=True), "that network is not here"),
        (lambda: remove(b"", vitmatte_model="base-composition-1k"), "that network is not here"),
        (lambda: remove(b"", sam_prompt=[]), "sam_prompt: not here; allowed are putalpha"),
        (lambda: remove(b"", bgcolor=(1, 2)), "R,G,B,A of 0 to 255"),
    ],
)
def test_what_is_not_here_is_refused(call, words):
    with pytest.raises(OptionError, match=words):
        call()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 0, 3), np.uint8),
        np.zeros((4, 0), np.uint8),
        np.zeros((4, 4, 5), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((), np.uint8),
        np.zeros((4, 4), np.uint16),
    ],
    ids=lambda array: f"{array.shape} {array.dtype}",
)
def test_an_array_that_is_no_photograph_is_refused(session, array):
    with pytest.raises(ImageError, match=r"allowed is \(h, w\), \(h, w, 3\) or \(h, w, 4\) uint8"):
        remove(array, session=session)


@pytest.mark.parametrize("data", [b"hello", "photo.jpg", 3], ids=repr)
def test_what_is_no_photograph_is_refused(session, data):
    with pytest.raises(ImageError):
        remove(data, session=session)
