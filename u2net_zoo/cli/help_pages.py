"""What help is made of: the panels of commands, and examples that end each command's page as they are typed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:

    class _Shown(TyperCommand):
        """What both kinds of commands have."""
else:
    _Shown = object

__all__ = ["CONVERT", "PANELS", "SERVE", "TRAIN", "USE", "Command", "Group", "epilog_of"]

PANELS = CONVERT, USE, TRAIN, SERVE = "Convert and prove", "Use masks", "Train", "Serve"


class _WithExamples(_Shown):
    """A command whose epilog is printed as it stands: typer would take its brackets for markup and fold its lines."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        epilog, self.epilog = self.epilog, None
        try:
            super().format_help(ctx, formatter)
        finally:
            self.epilog = epilog
        formatter.write(epilog or "")


class Command(_WithExamples, TyperCommand):
    """A command with examples."""


class Group(_WithExamples, TyperGroup):
    """A command with commands below it, and examples."""


def epilog_of(examples: Mapping[str, str]) -> str:
    """The end of a page: each example's line under what it does. Empty for none."""
    if not examples:
        return ""
    shown = (f"  # {what}\n  {line}\n" for what, line in examples.items())
    return "Examples:\n\n" + "\n".join(shown)
