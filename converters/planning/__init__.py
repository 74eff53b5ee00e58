"""What would a conversion write, and what would it take? Nothing is written, fetched or run to answer.

>>> from converters.planning import dry_run
>>> plan = dry_run("u2net_nano", "onnx", folder)
>>> [step.target.path.name for step in plan.steps], plan.missing
(['u2net_nano.onnx'], [])
>>> 1.1e6 < plan.bytes < 1.4e6
True
"""

from .dry_run import DryRun, Step, dry_run

__all__ = ["DryRun", "Step", "dry_run"]
