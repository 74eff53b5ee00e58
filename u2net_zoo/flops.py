"""How much work a network is, counted from its architecture."""

from dataclasses import dataclass

from .arch import POOL, RSU, Architecture, Unit

__all__ = ["flops"]


@dataclass(frozen=True)
class _Map:
    height: int
    width: int


class _Counter:
    """Ops of an architecture's walk that count the convolutions' multiplications and additions."""

    def __init__(self) -> None:
        self.count = 0

    def conv(self, unit: Unit, x: _Map) -> _Map:
        made = _Map(-(-x.height // unit.stride), -(-x.width // unit.stride))
        self.count += 2 * unit.out_ch * unit.in_ch * unit.kernel**2 * made.height * made.width
        return made

    def pool(self, x: _Map) -> _Map:
        return _Map(-(-x.height // POOL), -(-x.width // POOL))

    def upsample(self, x: _Map, like: _Map) -> _Map:
        return like

    def concat(self, *maps: _Map) -> _Map:
        return maps[0]

    def add(self, a: _Map, b: _Map) -> _Map:
        return a

    def block(self, block: RSU, x: _Map) -> _Map:
        return block.run(self, x)


def flops(arch: Architecture, size: tuple[int, int]) -> int:
    """Floating-point operations of one picture of size (H, W): convolutions, a multiplication and an addition each.

    Everything else (norms, ReLU, pooling, resizing) is under 2 % of it and left out.
    """
    counter = _Counter()
    arch.run(counter, _Map(*size))
    return counter.count
