"""The histogram of an artifact's error as an inline SVG: decades from left to right, share of the values upwards."""

import math

from ..verifier import DECADES, VerificationResult

__all__ = ["svg"]

WIDTH, HEIGHT, FLOOR = 320, 84, 66  # FLOOR: y of the axis


def svg(result: VerificationResult) -> str:
    """Bars of log10 |Δ| of the first output, square-root heights so that a few wrong pixels show; the bound dashed."""
    total = sum(result.histogram)
    if not total:
        return ""
    highest = max(result.histogram)
    step = WIDTH / len(result.histogram)
    bars = "".join(
        f'<rect x="{n * step + 0.5:.1f}" y="{FLOOR - tall:.1f}" width="{step - 1:.1f}" height="{tall:.1f}"/>'
        for n, count in enumerate(result.histogram)
        if (tall := max(1.5, (FLOOR - 8) * math.sqrt(count / highest)) if count else 0)
    )
    marks = "".join(
        f'<text x="{_x(decade):.1f}" y="{FLOOR + 14}" text-anchor="{anchor}">10{_raised(decade)}</text>'
        for decade, anchor in ((-9, "start"), (-6, "middle"), (-3, "middle"), (0, "end"))
    )
    name, allowed = result.report.errors[0], result.report.bound
    bound = ""
    if allowed is not None:
        at = _x(math.log10(allowed))
        line = f'<line class="bound" x1="{at:.1f}" x2="{at:.1f}" y1="2" y2="{FLOOR}"/>'
        bound = f'{line}<text x="{at + 3:.1f}" y="10">bound</text>'
    label = f"Histogram of the absolute error of {name.name}: largest {name.max_abs:.1e}"
    return (
        f'<svg class="hist" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{bars}'
        f'<line class="axis" x1="0" x2="{WIDTH}" y1="{FLOOR}" y2="{FLOOR}"/>{bound}{marks}</svg>'
    )


def _x(decade: float) -> float:
    low, high = float(DECADES[0]), float(DECADES[-1])
    return WIDTH * (min(max(decade, low), high) - low) / (high - low)


def _raised(number: int) -> str:
    return str(number).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
