"""Is an artifact the network? The float64 reference, the comparison with it, and the gate that artifacts pass.

>>> from converters import FORMATS
>>> from converters.parity import Reference, compare
>>> report = compare(FORMATS["onnx"].run(artifact), Reference(checkpoint, (320, 320)))
>>> report.ok, report.worst.name
(True, 'mask')
"""

from ..mask_errors import MaskBound, MaskError, MaskErrors, PixelError, SizeError, iou
from ..parity_report import OutputError64, Report
from .compare import Divergence, compare, divergence, judge, pixel_error, size_error
from .reference import Reference, farthest, in_batches, picture, picture_of

__all__ = [
    "Divergence",
    "MaskBound",
    "MaskError",
    "MaskErrors",
    "OutputError64",
    "PixelError",
    "Reference",
    "Report",
    "SizeError",
    "compare",
    "divergence",
    "farthest",
    "in_batches",
    "iou",
    "judge",
    "picture",
    "picture_of",
    "pixel_error",
    "size_error",
]
