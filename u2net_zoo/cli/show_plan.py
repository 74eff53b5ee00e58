"""What `u2zoo convert --dry-run` prints."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import install_hint
from .console import human_bytes, state
from .terminal import Whole

if TYPE_CHECKING:
    from converters.planning import DryRun, Step

__all__ = ["show_plan"]

INDENT = 13  # of what follows a format's name


def show_plan(plan: "DryRun") -> None:
    """The plan, as lines or as JSON. Raises MissingExtraError, as the real run does, where a package is missing."""
    state.document(plan.to_json())
    state.result(f"{'source':<{INDENT - 2}}", *_source(plan), indent=INDENT)
    for step in plan.steps:
        state.result(f"{step.target.fmt.name:<{INDENT - 2}}", step.target.path, *_expected(step), indent=INDENT)
        for line in _details(step):
            state.result(f"{'':<{INDENT - 2}}", line, indent=INDENT)
    state.result(f"{'in all':<{INDENT - 2}}", *_total(plan), indent=INDENT)
    state.result("Nothing was written.")
    if plan.missing:
        raise plan.missing[0]


def _source(plan: "DryRun") -> Iterator[str]:
    yield plan.source
    if plan.checkpoint is None:
        yield "its network is known when the weights are here"
    else:
        arch = plan.checkpoint.arch
        height, width = plan.size
        yield f"{arch.name}, {arch.parameters():,} parameters, {plan.gflop:.1f} GFLOP at {height}x{width}"
    if plan.fetched != 0:
        yield f"is downloaded first ({human_bytes(plan.fetched) if plan.fetched else 'size unknown'})"
    if plan.runs_source:
        yield "is a model: it is run first, and refused if it differs from its own weights"


def _expected(step: "Step") -> Iterator[str]:
    if step.bytes is not None:
        yield f"about {human_bytes(step.bytes)}"
    if step.seconds is not None:
        yield f"{step.seconds:.0f} s the last time" if step.recorded else f"about {step.seconds:.0f} s"
    elif step.bytes is not None:
        yield "minutes, as each layer is measured on photographs; the next time says how many"
    if step.replaces:
        yield "replaces the one that is there"


def _details(step: "Step") -> Iterator[str]:
    from converters.planning.dry_run import in_force

    for path in step.target.beside:
        yield Whole(path)
    yield " ".join(f"--{name} {value}" for name, value in in_force(step.target).items())
    yield from step.target.remarks
    if step.missing:
        yield Whole(f"missing: {step.missing.package}; {install_hint(step.missing.extra)}")


def _total(plan: "DryRun") -> Iterator[str]:
    files = sum(1 + len(step.target.beside) for step in plan.steps)
    yield f"{files} file{'s' if files > 1 else ''} or folder{'s' if files > 1 else ''}"
    if plan.bytes is not None:
        yield f"about {human_bytes(plan.bytes)}"
    if plan.seconds is not None:
        yield f"about {plan.seconds:.0f} s, with the float64 reference; estimates rest on {plan.to_json()['basis']}"
