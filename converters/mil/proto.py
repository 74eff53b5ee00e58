"""The protobuf classes of Core ML's model files, without the rest of coremltools.

`import coremltools` takes five seconds here and warns about every framework that it finds; the generated classes alone
take 30 ms. They are plain modules of one folder that import each other relatively, so they can be loaded as a package
of another name. Both ways register the same descriptors, and protobuf hands out the same classes for them.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from u2net_zoo.errors import MissingExtraError

__all__ = ["load"]

ALIAS = "_u2net_zoo_coreml_proto"


def load(name: str) -> Any:
    """The module `coremltools.proto.<name>`, such as `Model_pb2`.

    Raises:
        MissingExtraError: coremltools is not installed.
    """
    if "coremltools.proto" in sys.modules:
        return importlib.import_module(f"coremltools.proto.{name}")
    if ALIAS not in sys.modules:
        package = ModuleType(ALIAS)
        package.__path__ = [str(_folder())]
        sys.modules[ALIAS] = package
    return importlib.import_module(f"{ALIAS}.{name}")


def _folder() -> Path:
    spec = importlib.util.find_spec("coremltools")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("reading Core ML packages", "coremltools", "coreml")
    return Path(next(iter(spec.submodule_search_locations))) / "proto"
