"""README.md of a repository: metadata for the hub, then what was measured, how to feed it and how to use it."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from u2net_zoo import __version__
from u2net_zoo.preprocessing import Profile

from ..options import describe
from ..parity_report import PixelReport, TensorReport
from .browser_config import FILES
from .licences import Permission
from .provenance import Origin
from .proving import ProvedFile
from .repository_layout import Layout
from .usage import browser_lines, preparation_lines, usage_of

__all__ = ["OF_CARDS", "Card"]

OF_CARDS = "u2zoo"  # what the metadata of a card has, and that of no other
TASK = "image-segmentation"
TAGS = ("u2net", "salient-object-detection", "background-removal", "u2net-zoo")
LEGEND = (
    "max|Δ|: the largest difference from the Torch model in float64 on the same tensor, of the output that comes"
    " nearest to its bound; noise: how far Torch's own float32 strays there. IoU (at 0.5) and MAE (of 255): masks of"
    " photographs beside those of the Torch model, means."
)


@dataclass(frozen=True)
class Card:
    """What a card is made of."""

    repo: str
    origin: Origin
    licence: Permission
    files: Sequence[ProvedFile]
    layout: Layout

    def text(self) -> str:
        """The whole card, in Markdown."""
        parts = [self._front_matter(), f"# {self.repo.split('/')[1]}", self._introduction(), self._figures()]
        parts += [self._preparation(), self._usage(), self._weights(), f"## Licence\n\n{self.licence.sentence()}"]
        return "\n\n".join(parts) + "\n"

    def _front_matter(self) -> str:
        hub = self.origin.located.hub
        tags = [*TAGS, *dict.fromkeys(file.fmt.name for file in self.files)]
        fields: dict[str, object] = {
            **self.licence.front_matter(),
            "library_name": "transformers.js" if self.layout.in_browsers else "u2net-zoo",
            "pipeline_tag": TASK,
            "tags": tags,
            **({"base_model": hub.name.repo} if hub and hub.name.repo != self.repo else {}),
            OF_CARDS: {"version": __version__, "profile": self.origin.profile.name},
        }
        # JSON is YAML, and needs no rules for what has to be quoted.
        return "\n".join(["---", *(f"{key}: {json.dumps(value)}" for key, value in fields.items()), "---"])

    def _introduction(self) -> str:
        entry, arch = self.origin.located.entry, self.origin.checkpoint.arch
        finds = f" that finds {entry.purpose.partition(',')[0]}" if entry else ""
        network = f"`{arch.name}` of the U²-Net family, {arch.parameters():,} parameters"
        return f"{network}{finds}. u2net-zoo {__version__} ran every file listed here and compared it with its weights."

    def _figures(self) -> str:
        rows = [
            "| file | format | precision | input | max\\|Δ\\| | × noise | IoU | MAE |",
            "|---|---|---|---|---|---|---|---|",
            *map(self._row, self.files, self.layout.places),
        ]
        named = ", ".join(dict.fromkeys(p.name for file in self.files for p in file.result.pictures)) or "none"
        return (
            "## What was measured\n\n" + "\n".join(rows) + "\n\n"
            f"{LEGEND} The photographs: {named}. `u2zoo.json` holds all figures."
        )

    def _row(self, file: ProvedFile, place: str) -> str:
        result, report = file.result, file.result.report
        cells = ["", ""]
        if isinstance(report, TensorReport):
            cells = [f"{report.worst.max_abs:.1e}", f"{report.worst.ratio:.1f}"]
        elif isinstance(report, PixelReport):
            cells = [f"{report.pixels.largest:.0f} of 255", "–"]
        for measure, digits in (("iou", 4), ("mae", 3)):
            value = result.mean(measure)
            cells.append("–" if math.isnan(value) else f"{value:.{digits}f}")
        size = describe(result.size) if file.fmt.has_graph else "any size"
        takes = f"{size}, {result.takes.partition(';')[0]}"
        return f"| `{place}` | {file.fmt.title} | {result.precision} | {takes} | {' | '.join(cells)} |"

    @property
    def _size(self) -> tuple[int, int]:
        """(H, W) that photographs are brought to: that of a file with a size of its own, if there is one."""
        sized = [file.result.size for file in self.files if file.fmt.has_graph and file.is_plain]
        return sized[0] if sized else self.files[0].result.size

    def _preparation(self) -> str:
        profile = self.origin.profile
        lines = "\n".join(f"{n}. {step}" for n, step in enumerate(_steps(profile, self._size), 1))
        return f"## Preparation\n\nProfile `{profile.name}` ({profile.source}):\n\n{lines}"

    def _usage(self) -> str:
        return "\n\n".join(["## Use", *self._blocks()])

    def _blocks(self) -> Iterator[str]:
        first = self.layout.places[0]
        yield f"On the command line:\n\n```bash\nu2zoo mask photo.jpg -o mask.png --model hf:{self.repo}/{first}\n```"
        if any(file.is_plain for file in self.files):
            lines = preparation_lines(self.origin.profile.name, self._size)
            yield f"`x`, the tensor that files take:\n\n```python\n{lines}\n```"
        for file, place in zip(self.files, self.layout.places, strict=True):
            yield f"`{place}`:\n\n```python\n{usage_of(file, self.repo, place)}\n```"
        if self.layout.in_browsers:
            yield from self._browser()
        elif self.layout.obstacle:
            yield f"transformers.js does not run it: {self.layout.obstacle}."

    def _browser(self) -> Iterator[str]:
        there = {file.result.precision for file in self.files if file.fmt.name == "onnx"}
        dtypes = [dtype for precision, (_, dtype) in FILES.items() if precision in there]
        yield f"transformers.js, in browsers and in Node:\n\n```js\n{browser_lines(self.repo, dtypes)}\n```"
        if unlike := _unlike(self.origin.profile):
            yield f"It prepares photographs a little otherwise than the profile: {unlike}."

    def _weights(self) -> str:
        origin, entry = self.origin, self.origin.located.entry
        rows = [f"- proved against: `{origin.name}`, sha256 `{origin.checkpoint.meta['sha256']}`"]
        if entry:
            rows += [f"- training: {entry.training}", f"- citation: {entry.citation}"]
        return "## Weights\n\n" + "\n".join(rows)


def _steps(profile: Profile, size: tuple[int, int]) -> Iterator[str]:
    """How a photograph becomes a tensor and the answer a mask, in words and numbers."""
    fitted = "keeping its proportions, centred on black" if profile.letterbox else "without keeping its proportions"
    yield f"The photograph, upright and in RGB, is resized to {describe(size)} (height x width), {fitted}."
    divisor = "the largest value of the resized photograph" if profile.by_maximum else "255"
    yield f"Its values are divided by {divisor}."
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (profile.mean, profile.std))
    yield f"Per channel: minus ({mean}), divided by ({std}); the tensor is float32, (N, 3, H, W)."
    if profile.palette:
        yield "Each pixel's class is the channel that is largest."
        return
    if profile.invert:
        yield "The answer is subtracted from 1."
    if profile.stretch:
        yield "The answer is stretched: its smallest value becomes 0, its largest 1."
    yield "The mask is resized to the photograph's size."


def _unlike(profile: Profile) -> str:
    """How transformers.js differs from a profile that it can follow."""
    found = ["its resizing filter is another"]
    if profile.by_maximum:
        found.append("values are divided by 255, not by the photograph's maximum")
    if profile.stretch:
        found.append("the mask is not stretched to 0..1")
    return "; ".join(found)
