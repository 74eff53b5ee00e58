"""The report of `u2zoo verify`: one HTML file that needs nothing else."""

from .page import Gallery, write_report

__all__ = ["Gallery", "write_report"]
