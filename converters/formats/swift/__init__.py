"""The Swift file that is written beside a Core ML package: photograph in, mask out, on an iPhone or a Mac."""

import functools
import re
from collections.abc import Sequence
from importlib.resources import files
from string import Template

from converters.embedded import EmbeddedPreprocessing
from converters.formats.source_text import in_comment

__all__ = ["class_name", "hides", "swift_file", "swift_name"]

SYSTEMS = {  # the first systems with the features of a target
    "iOS15": "iOS 15.0, macOS 12.0",
    "iOS16": "iOS 16.0, macOS 13.0",
    "iOS17": "iOS 17.0, macOS 14.0",
    "iOS18": "iOS 18.0, macOS 15.0",
}
_KEYWORDS = """
    Any Self as associatedtype break case catch class continue default defer deinit do else enum extension fallthrough
    false fileprivate for func guard if import in init inout internal is let nil open operator private protocol public
    repeat rethrows return self static struct subscript super switch throw throws true try typealias var where while
"""
KEYWORDS = frozenset(_KEYWORDS.split())
_GENERATED = """
    Any Array Bool Bundle CVPixelBuffer CVPixelBufferRef Dictionary Double Error Float Float16 Int
    MLDictionaryFeatureProvider MLFeatureProvider MLFeatureValue MLModel MLModelConfiguration MLMultiArray
    MLPredictionOptions MLShapedArray Never NSError NSObject Optional Result Set String Swift URL
"""  # types that the class which Xcode generates speaks of, and Swift's own that any file of an app does


def class_name(stem: str) -> str:
    """The class that Xcode generates for `stem.mlpackage`: what Swift cannot have in a name becomes an underscore."""
    name = re.sub(r"\W", "_", stem, flags=re.ASCII)
    return f"_{name}" if name[:1].isdigit() or name in KEYWORDS else name


@functools.cache
def _spoken_of() -> frozenset[str]:
    """Types and modules that the Swift file and Xcode's class take from the system."""
    templates = (part for part in files(__package__).iterdir() if part.name.endswith(".txt"))
    lines = (line for part in templates for line in part.read_text(encoding="utf-8").splitlines())
    code = [line.partition("//")[0] for line in lines]
    return frozenset(re.findall(r"\b[A-Z]\w+", " ".join(code))).union(_GENERATED.split())


def hides(stem: str) -> bool:
    """Whether the class of `stem.mlpackage` would stand for a type of the system in every file of the app.

    A name of one's own module goes before one that is imported (The Swift Programming Language, Import Declaration).
    """
    return class_name(stem) in _spoken_of()


def swift_name(stem: str) -> str:
    """`u2netp` -> `U2Netp+Mask.swift`."""
    name = class_name(stem)
    return f"{name[:1].upper()}{name[1:]}".replace("U2net", "U2Net") + "+Mask.swift"


def swift_file(
    stem: str, embedded: EmbeddedPreprocessing, *, target: str, half: bool, names: Sequence[str] = ()
) -> str:
    """The file's text.

    Args:
        names: of the classes, where the mask is a map of them.
        target: `iOS15` … `iOS18`: the package's; before iOS 16, and of class maps, a multi-array comes out.
        half: the program computes in float16, which the Neural Engine can do; float32 is for CPU and GPU.
    """
    array = target == "iOS15" or embedded.classes > 1
    source = files(__package__)
    template = Template((source / "Mask.swift.txt").read_text(encoding="utf-8"))
    part = (source / ("FromArray.swift.txt" if array else "FromImage.swift.txt")).read_text(encoding="utf-8")
    meaning = "white is the paper" if embedded.profile.invert else "white is the object"
    meaning = "each pixel's class" if embedded.classes > 1 else meaning
    return template.substitute(
        file=swift_name(stem),
        package=in_comment(f"{stem}.mlpackage"),
        model=class_name(stem),
        systems=SYSTEMS[target],
        meaning=meaning,
        units=".all" if half else ".cpuAndGPU",
        why="the Neural Engine computes in float16, and so does this model" if half else "this model is float32",
        fit="true" if embedded.profile.letterbox else "false",
        smooth="false" if embedded.classes > 1 else "true",
        names=_names(names) if len(names) == embedded.classes else "",
        levels=part.rstrip(),
    )


def _names(names: Sequence[str]) -> str:
    texts = ", ".join('"' + name.replace("\\", r"\\").replace('"', r"\"") + '"' for name in names)
    return f"    /// What the numbers in a mask stand for, from 0 on.\n    static let classNames = [{texts}]\n\n"
