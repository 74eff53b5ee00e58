"""The Swift and the Kotlin file beside a model: by the languages' grammars, under any name, never over another's."""

import json
import re

import pytest
from support.networks import SMALL

from converters import Options, convert
from converters.embedded import embedded_of
from converters.formats.kotlin import kotlin_file, kotlin_name
from converters.formats.swift import class_name, hides, swift_file, swift_name
from u2net_zoo.errors import OptionError, OutputError
from u2net_zoo.train.start import with_channels
from u2net_zoo.weight_words import usual_colours


@pytest.mark.parametrize("target", ["iOS15", "iOS16", "iOS17", "iOS18"])
@pytest.mark.parametrize("profile", ["paper", "isnet-anime"])
@pytest.mark.parametrize("half", [True, False])
def test_the_swift_file_is_swift(target, profile, half):
    from tree_sitter import Language, Parser
    from tree_sitter_swift import language

    embedded = embedded_of(SMALL, Options(io="image", profile=profile))
    text = swift_file("2 small-nets", embedded, target=target, half=half)
    tree = Parser(Language(language())).parse(text.encode())
    assert not tree.root_node.has_error
    assert "func mask(for photograph: CGImage) throws -> CGImage" in text
    assert "extension _2_small_nets" in text
    assert "$" not in text
    assert Parser(Language(language())).parse(text.replace("}", "", 1).encode()).root_node.has_error


@pytest.mark.parametrize("profile", ["paper", "isnet-anime", "portrait"])
@pytest.mark.parametrize("precision", ["fp32", "w8a8"])
def test_the_kotlin_file_is_kotlin(profile, precision):
    from tree_sitter import Language, Parser
    from tree_sitter_kotlin import language

    embedded = embedded_of(SMALL, Options(io="image", profile=profile, precision=precision))
    text = kotlin_file("2 small-nets", embedded, (320, 256))
    parser = Parser(Language(language()))
    assert not parser.parse(text.encode()).root_node.has_error
    assert "fun mask(photograph: Bitmap): Bitmap {" in text
    assert "class _2_small_netsMask(context: Context" in text
    assert "const val WIDTH = 256" in text
    assert "const val HEIGHT = 320" in text
    assert ("KEEPS_PROPORTIONS = true" in text) == (profile == "isnet-anime")
    assert ("not stretched" in text) == (precision == "w8a8" or profile == "isnet-anime")
    assert "$" not in text
    assert parser.parse(
        text.replace("model.run(inputs, outputs)", "model.run(inputs, outputs").encode()
    ).root_node.has_error


ODD = [
    "a$b",
    "${a}",
    'a"b',
    "a\\b",
    "a\\",
    "$",
    "a\nb",
    "a\r\tb",
    "é ü 中 🐈",
    "a\U000e0001b",
    "a\udcffb",
    "a'b*",
    "`a`",
]


# Kotlin's grammar (KotlinLexer, LineString): what is left when references and expressions are no part of it.
PLAIN_STRING = re.compile(r'"(?:[^\\"$\r\n]|\\u[0-9a-fA-F]{4}|\\[tbrn\'"\\$])*"')


def strings(tree) -> list[str]:
    """The texts of a Kotlin file's string literals; raises where one has anything but text in it."""
    found, stack = [], [tree.root_node]
    while stack:
        node = stack.pop()
        stack.extend(reversed(node.children))
        if node.type == "string_literal":
            assert PLAIN_STRING.fullmatch(node.text.decode())
            inside = node.text.decode()[1:-1].replace(r"\$", "$")
            found.append(json.loads(f'"{inside}"'))  # JSON has the same escapes but for the dollar's
    return found


CLASSES = ("background", 'say "hi"', "a\\(b)", "$cost", "größe 中")


def test_the_files_list_the_names_of_the_classes():
    from tree_sitter import Language, Parser
    from tree_sitter_kotlin import language as kotlin
    from tree_sitter_swift import language as swift

    options = Options(io="image", colours=usual_colours(len(CLASSES)))
    embedded = embedded_of(with_channels(SMALL, len(CLASSES)), options)
    text = kotlin_file("street", embedded, (320, 256), CLASSES)
    tree = Parser(Language(kotlin())).parse(text.encode())
    assert not tree.root_node.has_error
    assert "val classNames = listOf(" in text
    assert sorted(strings(tree)) == sorted(["street.tflite", *CLASSES])
    text = swift_file("street", embedded, target="iOS16", half=True, names=CLASSES)
    assert not Parser(Language(swift())).parse(text.encode()).root_node.has_error
    line = next(line.strip() for line in text.splitlines() if "classNames" in line)
    assert json.loads(line.removeprefix("static let classNames = ")) == list(CLASSES)  # JSON has the same escapes
    mask = embedded_of(SMALL, Options(io="image", profile="paper"))
    for other in (kotlin_file("a", mask, (320, 256), CLASSES), swift_file("a", mask, target="iOS16", half=True)):
        assert "classNames" not in other


@pytest.mark.parametrize("stem", ODD, ids=ascii)
def test_odd_names_of_files_are_strings_and_comments_of_one_line(stem):
    from tree_sitter import Language, Parser
    from tree_sitter_kotlin import language as kotlin
    from tree_sitter_swift import language as swift

    embedded = embedded_of(SMALL, Options(io="image", profile="paper"))
    text = kotlin_file(stem, embedded, (320, 256))
    tree = Parser(Language(kotlin())).parse(text.encode())
    assert not tree.root_node.has_error
    assert strings(tree) == [f"{stem}.tflite"]
    lines = kotlin_file("plain", embedded, (320, 256)).count("\n")
    assert (text.count("\n"), text.count("\r")) == (lines, 0)
    text = swift_file(stem, embedded, target="iOS16", half=True)
    assert not Parser(Language(swift())).parse(text.encode()).root_node.has_error
    assert text.count("\n") == swift_file("plain", embedded, target="iOS16", half=True).count("\n")
    assert text.splitlines()[1] == "//"


def test_a_name_that_is_not_escaped_is_another_string_or_none():
    from tree_sitter import Language, Parser
    from tree_sitter_kotlin import language

    embedded = embedded_of(SMALL, Options(io="image", profile="paper"))
    text = kotlin_file("name", embedded, (320, 256))
    parser = Parser(Language(language()))
    assert strings(parser.parse(text.encode())) == ["name.tflite"]
    for wrong in ("na$me", "na${me}", r"na\me"):
        with pytest.raises(AssertionError):
            strings(parser.parse(text.replace('"name.tflite"', f'"{wrong}.tflite"').encode()))
    assert parser.parse(text.replace('"name.tflite"', '"na"me.tflite"').encode()).root_node.has_error


def test_the_kotlin_file_is_named_after_its_class():
    assert kotlin_name("u2netp") == "U2NetpMask.kt"
    assert kotlin_name("my-net.v2") == "My_net_v2Mask.kt"


def test_a_kotlin_file_that_was_not_written_for_the_model_is_kept(small, tmp_path):
    (tmp_path / "A_bMask.kt").write_text("// mine\n")
    with pytest.raises(OutputError, match=r"A_bMask\.kt: was not written for a-b\.tflite; move it"):
        convert(small, "tflite", tmp_path, name="a-b", options=Options(size=(64, 64), io="image"))
    assert [file.name for file in tmp_path.iterdir()] == ["A_bMask.kt"]


def test_the_swift_file_is_named_after_the_class_that_xcode_makes():
    assert swift_name("u2netp") == "U2Netp+Mask.swift"
    assert class_name("my-net.v2") == "my_net_v2"


@pytest.mark.parametrize("name", ["Vision", "Data", "CGImage", "URL"])
@pytest.mark.parametrize("fmt", ["coreml", "mlmodel"])
def test_a_class_that_would_hide_one_of_the_system_is_refused(small, tmp_path, fmt, name):
    with pytest.raises(OptionError, match=rf"Xcode would call its class {name}, .*choose another --name"):
        convert(small, fmt, tmp_path, name=name, options=Options(size=(64, 64)))
    assert list(tmp_path.iterdir()) == []


def test_names_that_hide_nothing_are_taken():
    assert not any(hides(stem) for stem in ("u2netp", "Street", "data", "MyVision", "mask", "Mask"))


def test_a_swift_file_that_was_not_written_for_the_package_is_kept(small, tmp_path):
    (tmp_path / "A_b+Mask.swift").write_text("// mine\n")
    with pytest.raises(OutputError, match=r"A_b\+Mask\.swift: was not written for a-b\.mlpackage; move it"):
        convert(small, "coreml", tmp_path, name="a-b", options=Options(size=(64, 64)))
    assert [file.name for file in tmp_path.iterdir()] == ["A_b+Mask.swift"]
    assert (tmp_path / "A_b+Mask.swift").read_text() == "// mine\n"
