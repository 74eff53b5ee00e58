"""What Torch's files ask to be imported, and what can be left out of them. Nothing of a file is imported or run."""

import pickletools
import re
import threading
import zipfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from .errors import CheckpointError
from .limits import member, open_zip

__all__ = ["load", "refusal"]

# Settings and counters that stand beside weights. Each becomes an `_Inert`, whatever the file wants to do with it.
HARMLESS = re.compile(
    r"argparse\.Namespace|types\.SimpleNamespace|pathlib\.[\w.]+|datetime\.\w+|uuid\.UUID"
    r"|numpy(\._?core)?(\.multiarray)?\.(scalar|dtype|ndarray|_reconstruct|\w*float\w*|\w*int\w*)|numpy\.dtypes\.\w+"
    r"|omegaconf\.[\w.]+|easydict\.EasyDict|yacs\.config\.CfgNode|addict\.addict\.Dict|_codecs\.encode"
    r"|(pytorch_lightning|lightning)\.[\w.]*AttributeDict|torch\.torch_version\.TorchVersion"
)
TORCHS_OWN = re.compile(
    r"torch(\.\w+)*\.(_rebuild_\w+|\w*Storage|Size|device|\w+\d+)|collections\.\w+"
    r"|builtins\.(set|frozenset|complex|bytearray|range|slice|list|dict|tuple|int|float|str|bool|object)"
)
LOADING = threading.Lock()  # what Torch's unpickler may make is one list for the whole process
STRINGS = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE")


class _Inert:
    """In place of an object: it takes whatever its pickle gives it, and keeps nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def __setstate__(self, state: Any) -> None: ...
    def __setitem__(self, key: Any, value: Any) -> None: ...
    def __hash__(self) -> int:
        return id(self)


def load(path: Path) -> Any:
    """Torch's own content, by its unpickler that makes nothing but tensors and plain values. It may raise anything."""
    import torch

    left_out: list[Any] = [(_Inert, name) for name in _imports(path) if HARMLESS.fullmatch(name)]
    # An open file: by its name, Torch would take some for what they are not.
    with LOADING, torch.serialization.safe_globals(left_out), path.open("rb") as file:
        return torch.load(file, map_location="cpu", weights_only=True)


def refusal(path: Path) -> str | None:
    """Why `load` refuses a file that is whole, and what makes a usable one of it; None: it holds nothing foreign."""
    names = _imports(path)
    foreign = [n for n in names if not (HARMLESS.fullmatch(n) or TORCHS_OWN.fullmatch(n))]
    if any(name.startswith("torch.nn.modules.") for name in names):
        own = next((name for name in foreign if not name.startswith("torch.")), "torch.nn.Module")
        return (
            f"a whole pickled model (class {own}), which only its own code can load; where that code is:"
            f" torch.save(torch.load({path.name!r}, weights_only=False).state_dict(), 'weights.pth')"
        )
    if foreign:
        return (
            f"refused: beside its tensors it asks to import {foreign[0]}, which may run code; where it was made:"
            " torch.save(model.state_dict(), 'weights.pth')"
        )
    return None


def _imports(path: Path) -> list[str]:
    """Dotted names that the file's pickles ask for; those before the place where they are damaged, if they are."""
    names: list[str] = []
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                for _ in range(4):  # a magic number, a version, the system, the content
                    names += _imported(file)
            return list(dict.fromkeys(names))
        with open_zip(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
            names = [found for name in pickles for found in _imported(member(archive, name))]
    except (CheckpointError, ValueError, IndexError, UnicodeDecodeError, KeyError):
        pass
    return list(dict.fromkeys(names))


def _imported(content: bytes | IO[bytes]) -> Iterator[str]:
    strings: deque[str] = deque(maxlen=2)  # the latest
    memo: dict[int, str] = {}
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == "GLOBAL":
            yield str(argument).replace(" ", ".")
        elif opcode.name in STRINGS:
            strings.append(str(argument))
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = strings[-1] if strings else ""
        elif opcode.name in ("BINGET", "LONG_BINGET"):
            strings.extend([memo[argument]] if argument in memo else [])
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(strings)
