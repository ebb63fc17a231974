"""Precision and recall as a curve, from histograms over shared clusters (sajjadi2018).

A law q has precision alpha at recall beta with respect to p when a share alpha of q and a share
beta of p are one and the same law. The best pairs along alpha = lambda beta are

    alpha(lambda) = sum of min(lambda p, q),   beta(lambda) = alpha(lambda) / lambda.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.checks import as_key, as_numbers, no_type_check
from gen_jax.errors import ConfigError, check_range
from gen_jax.metrics.pairwise import centred_pair, on_float64_device
from gen_jax.types import Array, Estimate, Float, Key, Num

NUM_ANGLES = 1001
LLOYD_STEPS = 20
RESAMPLES = 20
"""Of each histogram, for the error."""


class PrecisionRecallCurve(NamedTuple):
    """A curve and its two ends, larger is better.

    Fields:
      precision, recall: [A], the mean curve over clusterings, from the end of recall (an angle of
        0) to that of precision.
      f_8: greatest F_8 along the curve, in which recall weighs eight times: few modes lost.
      f_1_8: greatest F_1/8, in which precision does: few bad samples.
    """

    precision: Float[np.ndarray, "A"]
    recall: Float[np.ndarray, "A"]
    f_8: Estimate
    f_1_8: Estimate


def _slopes(num_angles: int) -> np.ndarray:
    return np.tan(np.linspace(1e-6, np.pi / 2 - 1e-6, num_angles))


def _curves(p: np.ndarray, q: np.ndarray, num_angles: int) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall [..., A] of histograms [..., K]."""
    slopes = _slopes(num_angles)[:, None]
    precision = np.minimum(slopes * p[..., None, :], q[..., None, :]).sum(-1)
    return np.minimum(precision, 1), np.minimum(precision / slopes[:, 0], 1)


def _best_f(precision: np.ndarray, recall: np.ndarray, beta: float) -> np.ndarray:
    """Greatest F_beta along curves [..., A]; 0 where nothing is shared."""
    below = beta**2 * precision + recall
    f = (1 + beta**2) * precision * recall / np.where(below > 0, below, 1)
    return np.asarray(f.max(-1))


def _histogram(name: str, values: Any) -> np.ndarray:
    weights = as_numbers(name, values)
    if (weights < 0).any() or weights.sum() <= 0:
        raise ConfigError(f"{name} must hold masses >= 0 of a positive sum")
    return weights / weights.sum()


@no_type_check
def prd_curve(
    p: Num[Array | np.ndarray, "K"], q: Num[Array | np.ndarray, "K"], num_angles: int = NUM_ANGLES
) -> tuple[Float[np.ndarray, "A"], Float[np.ndarray, "A"]]:
    """Precision [A] and recall [A] of histograms q of samples and p of data (sajjadi2018 eq. 4-6).

    Masses are divided by their sums. Along equal angles of lambda = tan(angle) in (0, pi / 2).
    """
    p, q = _histogram("p", p), _histogram("q", q)
    if len(p) != len(q):
        raise ConfigError(f"q has {len(q)} masses, p {len(p)}; they must be equal")
    check_range("num_angles", num_angles, 2, integer=True)
    return _curves(p, q, int(num_angles))


@jax.jit
def _cells(x, start):
    """The cluster [N] of each row: Lloyd's iteration from centres; empty clusters stay."""
    near = lambda centres: jnp.argmin(jnp.sum(centres**2, 1) - 2 * x @ centres.T, 1)

    def move(_, centres):
        member = jax.nn.one_hot(near(centres), len(start), dtype=x.dtype)
        count = member.sum(0)[:, None]
        return jnp.where(count > 0, member.T @ x / jnp.maximum(count, 1), centres)

    return near(jax.lax.fori_loop(0, LLOYD_STEPS, move, start))


@no_type_check
def precision_recall_curve(
    key: Key[Array, ""],
    real: Num[Array | np.ndarray, "N ..."],
    fake: Num[Array | np.ndarray, "M ..."],
    clusters: int = 20,
    repeats: int = 5,
) -> PrecisionRecallCurve:
    """Curve of precision and recall (sajjadi2018), averaged over k-means clusterings of both sets.

    Errors: the scatter of F when the rows are drawn again into the clusters, and that between the
    clusterings. Finite histograms never agree, so equal laws score below 1: compare with two real
    sets of the same sizes.

    Args:
      real, fake: features [N, D] and [M, D].
      clusters: cells of the histograms, at most N + M.
      repeats: clusterings, each from other random rows.
    """
    key, (real, fake) = as_key("key", key), centred_pair(real, fake, names=("real", "fake"))
    n, m = len(real), len(fake)
    check_range("clusters", clusters, 2, n + m, integer=True)
    check_range("repeats", repeats, 1, integer=True)
    x = np.concatenate([real, fake])
    curves, scores, errors = [], [], []
    for repeat in range(int(repeats)):
        key_cells, key_rows = jax.random.split(jax.random.fold_in(key, repeat))
        first = np.asarray(jax.random.choice(key_cells, n + m, (int(clusters),), replace=False))
        with on_float64_device():
            cell = np.asarray(_cells(jnp.asarray(x), jnp.asarray(x[first])))
        p, q = (np.bincount(c, minlength=int(clusters)) for c in (cell[:n], cell[n:]))
        draw = np.random.default_rng(np.asarray(jax.random.key_data(key_rows)))
        p_again, q_again = (
            draw.multinomial(size, h / size, RESAMPLES) / size for h, size in ((p, n), (q, m))
        )
        resampled = _curves(p_again, q_again, NUM_ANGLES)
        curves.append(_curves(p / n, q / m, NUM_ANGLES))
        scores.append([_best_f(*curves[-1], beta) for beta in (8, 1 / 8)])
        errors.append([_best_f(*resampled, beta).std(ddof=1) for beta in (8, 1 / 8)])
    precision, recall = np.mean(curves, 0)
    between = np.var(scores, 0, ddof=1) / len(scores) if len(scores) > 1 else np.zeros(2)
    value, error = np.mean(scores, 0), np.sqrt(np.mean(np.square(errors), 0) + between)
    f_8, f_1_8 = (Estimate(float(v), float(e)) for v, e in zip(value, error))
    return PrecisionRecallCurve(precision, recall, f_8, f_1_8)
