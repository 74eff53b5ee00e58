"""What the server gives to one request, and to all of them together."""

from dataclasses import dataclass

from ..errors import OptionError, U2ZooError

__all__ = ["DECODING", "LARGEST_SIDE", "Limits", "RefusalError"]

LARGEST_SIDE = 20_000  # pixels
MOST_PIXELS = 170_000_000  # Pillow itself refuses more
DECODING = 3  # photographs that stand decoded in memory at once: two in the model, one beside them


class RefusalError(U2ZooError):
    """A request that is answered with an error status: one line says what came, what is allowed, what to do next.

    Args:
        status: of HTTP.
        again: seconds after which it is worth another try.
    """

    def __init__(self, status: int, text: str, *, again: int | None = None):
        super().__init__(text)
        self.status, self.again = status, again


@dataclass(frozen=True)
class Limits:
    """Bounds of memory, disk and time; wrong ones raise OptionError.

    Attributes:
        pixels: of one photograph, known from its header before it is decoded.
        bytes: of one request's body.
        queue: photographs that are worked on or wait for that; the next one is told to come back.
        timeout: seconds for a body to arrive, again for a photograph's turn to come, again for its answer, and again
            for its client to take that. Work that takes longer is told of in time, and ends with the step that it is
            at: threads cannot be stopped.
    """

    pixels: int = 24_000_000
    bytes: int = 32 << 20
    queue: int = 16
    timeout: float = 30.0

    def __post_init__(self) -> None:
        for name, value, most in (
            ("max-pixels", self.pixels, MOST_PIXELS), ("max-bytes", self.bytes, 1 << 30),
            ("queue", self.queue, 1000), ("timeout", self.timeout, 3600),
        ):  # fmt: skip
            if not 0 < value <= most:
                raise OptionError(f"--{name} {value}: allowed: above 0, at most {most}")

    @property
    def uploads(self) -> int:
        """Bodies that may be on their way at once; each is on disk beyond its first megabyte."""
        return 4 * self.queue

    @property
    def patience(self) -> float:
        """Seconds for the head of a request."""
        return min(self.timeout, 10.0)
