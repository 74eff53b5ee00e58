"""Where and how a run happens; nothing here changes its result."""

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import OptionError
from .watch import Silent, Watcher

__all__ = ["Setting"]


@dataclass(frozen=True)
class Setting:
    """Attributes:
    out: folder for weights, snapshots and logs.
    accelerator, devices, nodes, strategy: Lightning Fabric's.
    workers: processes that read photographs ahead; 0 reads in this one.
    save_every: steps between snapshots; there is one after each epoch too.
    validate_every: epochs between validations.
    logs: whether to write TensorBoard's events into `out/logs`.
    """

    out: Path
    accelerator: str = "auto"
    devices: int | str = 1
    nodes: int = 1
    strategy: str = "auto"
    workers: int = 0
    save_every: int = 500
    validate_every: int = 1
    logs: bool = True
    watcher: Watcher = field(default_factory=Silent)

    def __post_init__(self) -> None:
        for name, least in (("devices", 1), ("nodes", 1), ("workers", 0), ("save_every", 1)):
            value = getattr(self, name)
            if isinstance(value, int) and value < least:
                raise OptionError(f"{name} {value}; allowed: {least} and more")
