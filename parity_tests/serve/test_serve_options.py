"""What a request may ask of an application, and what it may not: no file of the server's machine."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from converters.torch_predictor import TorchPredictor
from u2net_zoo.apps import Application, Result
from u2net_zoo.apps.mask import Mask
from u2net_zoo.apps.replace import Replace
from u2net_zoo.errors import OptionError
from u2net_zoo.preprocessing import PROFILES
from u2net_zoo.serve.limits import Limits, RefusalError
from u2net_zoo.serve.query import chosen, file_fields, parameters
from u2net_zoo.serve.sessions import Sessions
from u2net_zoo.session import MaskSession


@dataclass(frozen=True)
class Everything(Application):
    """An application with an option of every kind."""

    name = "everything"
    title = "Options."
    yes: bool = False
    count: int = 1
    share: float | None = 0.5
    word: str = "a"
    background: str | None = field(default=None, metadata={"file": True, "words": r"[a-z]+|#[0-9a-f]{6}|blur:[0-9.]+"})
    pattern: str | None = field(default=None, metadata={"file": True})

    def __post_init__(self) -> None:
        if self.count > 9:
            raise OptionError(f"count {self.count}: at most 9")

    def after(self, image: Image.Image, mask: Image.Image) -> Result:
        return Result({})


def test_options_come_from_the_query_in_their_types():
    query = {"yes": "true", "count": "-3", "share": "none", "word": "so so", "background": "blur:3.5"}
    assert chosen(Everything, query.items(), {}) == Everything(True, -3, None, "so so", "blur:3.5")
    assert chosen(Everything, {"share": "1e-3"}.items(), {}).share == 0.001


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("yes", "maybe"), ("count", "1.5"), ("count", "9" * 5000), ("count", "10"), ("share", "nan"), ("share", "inf"),
        ("share", "1e999"), ("word", "/etc/passwd"), ("word", "a\\b"), ("word", ".."), ("word", "x" * 500),
        ("word", "a\0"), ("background", "photo.png"), ("background", "/etc/passwd"), ("pattern", "red"),
        ("pattern", "a.png"), ("share", "."), ("share", "-."), ("share", ".e5"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused(name, value):
    with pytest.raises(RefusalError) as refusal:
        chosen(Everything, [(name, value)], {})
    assert refusal.value.status == 422
    assert len(str(refusal.value)) < 300


def test_files_are_sent_and_never_named(tmp_path):
    assert file_fields(Everything) == {"background", "pattern"}
    assert chosen(Everything, [], {"pattern": tmp_path / "0.png"}).pattern == str(tmp_path / "0.png")
    with pytest.raises(RefusalError, match="takes the files image, background, pattern"):
        chosen(Everything, [], {"word": tmp_path / "0.png"})
    with pytest.raises(RefusalError, match="more than once"):
        chosen(Everything, [("background", "red")], {"background": tmp_path})


def test_a_value_that_is_no_file_is_not_called_one():
    with pytest.raises(RefusalError, match=r"'rgb\(1,2,3\)' cannot be taken from the query; allowed are: A picture, a"):
        chosen(Replace, [("background", "rgb(1,2,3)")], {})
    with pytest.raises(RefusalError, match="a file is sent as the form's file 'pattern', not named in the query"):
        chosen(Everything, [("pattern", "a.png")], {})


def test_openapi_has_every_option_but_files():
    found = {p["name"]: p["schema"] for p in parameters(Everything)}
    assert set(found) == {"yes", "count", "share", "word", "background"}
    assert found["count"] == {"type": "integer", "default": 1}


def test_weights_that_are_not_here_are_not_fetched_for_a_request(home):
    @dataclass(frozen=True)
    class Human(Mask):
        model = "u2net_human_seg"

    with pytest.raises(RefusalError, match="u2zoo fetch u2net_human_seg") as refusal:
        Sessions(lambda source, profile: pytest.fail("opened"), "u2net_nano", None)(Human)
    assert refusal.value.status == 503


def test_weights_of_one_name_are_opened_once(small):
    @dataclass(frozen=True)
    class Nano(Mask):
        model = "u2net_nano"

    @dataclass(frozen=True)
    class Other(Mask):
        model = "u2net_portrait"

    opened: list[tuple[str, str | None]] = []

    def session(source, profile):
        opened.append((source, profile))
        return MaskSession(TorchPredictor(small), PROFILES["rembg"])

    sessions = Sessions(session, Path("u2net_portrait"), "rembg")
    sessions.open_model()
    for kind in (Nano, Other, Nano):
        sessions(kind)
    assert opened == [("u2net_portrait", "rembg")]


def test_limits_are_sane():
    with pytest.raises(OptionError, match="--max-bytes 0"):
        Limits(bytes=0)
