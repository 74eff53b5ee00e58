"""Kernels in 8 bits whose rounding errors cancel on what the convolution is given, instead of adding up.

Weights are rounded one after the other; what a rounding gets wrong is taken back by the weights that are still to come,
as far as their inputs vary together. After E. Frantar et al., "GPTQ: Accurate post-training quantization for generative
pre-trained transformers", ICLR 2023; B. Hassibi and D. Stork's "Optimal brain surgeon" (1993) is where it starts.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["Moments", "feed_back", "fitted"]

DAMPING = 0.01  # of the inputs' mean variance: keeps the inverse tame where inputs hardly vary
STEPS = 127
TOGETHER = 64  # weights between two updates of all that are behind them


@dataclass(frozen=True)
class Moments:
    """How the whole inputs of a convolution vary, and how its exact answers vary with them.

    Attributes:
        inputs: (K,) mean of the whole inputs; K = I · h · w.
        answers: (O,) mean of the exact answers.
        covariance: (K, K) of the inputs.
        cross: (O, K) covariance of exact answers and whole inputs.
    """

    inputs: np.ndarray
    answers: np.ndarray
    covariance: np.ndarray
    cross: np.ndarray

    @classmethod
    def of(cls, inputs: np.ndarray, answers: np.ndarray) -> "Moments":
        """Of samples (K, n) and (O, n)."""
        count = inputs.shape[1]
        mean, wanted = inputs.mean(axis=1), answers.mean(axis=1)
        inputs, answers = inputs - mean[:, None], answers - wanted[:, None]
        covariance = (inputs @ inputs.T / count).astype(np.float64)
        return cls(
            mean.astype(np.float64),
            wanted.astype(np.float64),
            covariance,
            (answers @ inputs.T / count).astype(np.float64),
        )


def fitted(kernel: np.ndarray, moments: Moments, pull: float, copies: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(codes (O, K) int32, scale (O,) float32, bias (O,) float64): answers ≈ codes · scale · inputs + bias.

    Codes are from -127 · copies to 127 · copies.

    Args:
        kernel: (O, K) float64, exact.
        pull: how much `kernel` counts against what fits the whole inputs best, of the inputs' mean variance.
    """
    variance = max(float(np.trace(moments.covariance)) / len(moments.covariance), 1e-12)
    regular = moments.covariance + pull * variance * np.eye(len(moments.covariance))
    best = np.linalg.solve(regular, (moments.cross + pull * variance * kernel).T).T
    scale = np.maximum(np.abs(best).max(axis=1) / (STEPS * copies), np.finfo(np.float32).tiny).astype(np.float32)
    damped = moments.covariance + DAMPING * variance * np.eye(len(moments.covariance))
    codes = feed_back(best / scale[:, None], damped, STEPS * copies)
    return codes, scale, moments.answers - (codes * scale[:, None].astype(np.float64)) @ moments.inputs


def feed_back(values: np.ndarray, covariance: np.ndarray, limit: int) -> np.ndarray:
    """`values` (O, K) as whole numbers of at most `limit`, (O, K) int32: first those whose inputs vary most."""
    order = np.argsort(-np.diag(covariance), kind="stable")
    values = values[:, order].copy()
    upper = np.linalg.cholesky(np.linalg.inv(covariance[np.ix_(order, order)])).T
    codes = np.empty(values.shape, np.int32)
    for start in range(0, values.shape[1], TOGETHER):
        end = min(start + TOGETHER, values.shape[1])
        errors = np.empty((len(values), end - start))
        for k in range(start, end):
            codes[:, k] = np.clip(np.rint(values[:, k]), -limit, limit)
            errors[:, k - start] = (values[:, k] - codes[:, k]) / upper[k, k]
            values[:, k:end] -= errors[:, k - start, None] * upper[k, k:end]
        values[:, end:] -= errors @ upper[start:end, end:]
    found = np.empty_like(codes)
    found[:, order] = codes
    return found
