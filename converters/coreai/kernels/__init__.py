"""The operations, one file for each group. Importing this package registers them all.

Operands keep the order and the meaning that Apple's authoring library (`coreai-core`) states in the documentation of
each operation; that is the source of every definition, unless a docstring names another.
"""

from . import (  # noqa: F401 - importing a group registers its operations
    arithmetic,
    arrangement,
    compression,
    interpolation,
    reductions,
    windows,
)
from .table import KERNELS, Kernel

__all__ = ["KERNELS", "Kernel"]
