"""What a matrix product reaches on this machine."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["matmul_gflops"]

# Of the matrices. 12 MB are beyond the caches next to a core, 2 GFLOP a product. A GPU does that in less time than it
# takes to start it, and gets 1.1 TFLOP.
SIDES = {"cpu": 1024, "cuda": 8192}
ROUNDS, SECONDS = 5, 1.0  # a processor that emulates bf16 takes seconds for one


def matmul_gflops(device: str = "cpu", dtype: str = "float32") -> float:
    """GFLOP/s of Torch's matrix product, the best of a few; what a convolution could reach at most.

    Args:
        device: `cpu` or `cuda`.
        dtype: Torch's name, or `tf32`: float32 whose products round to 10 bits, on CUDA.
    """
    import torch

    side, best = SIDES[device], float("inf")
    a = torch.rand(side, side, device=device, dtype=getattr(torch, "float32" if dtype == "tf32" else dtype))
    with _tf32(dtype == "tf32"):
        float((a[:64, :64] @ a[:64, :64])[0, 0])  # the first product loads libraries
        for _ in range(ROUNDS):
            start = time.perf_counter()
            product = a @ a
            float(product[0, 0])  # waits for a GPU
            best = min(best, time.perf_counter() - start)
            if best > SECONDS:
                break
    return 2 * side**3 / best / 1e9


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Torch's products in TF32 or not; as it was before afterwards."""
    import torch

    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
