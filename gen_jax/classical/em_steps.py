"""Expectation maximisation for Gaussian mixtures (dempster1977), in one pass over the data.

The E-step meets the data in blocks that stay in the cache. It sums, per component, responsibilities
r, r y and r y y^T of the residuals y = L^-1 (x - m), so the M-step

    b = sum r y / sum r,   S = sum r y y^T / sum r,
    m' = m + L b,          C' = L (S - b b^T) L^T + diag(floor)

works in units in which the old component is the standard normal: nothing cancels in float32.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.axes import expand
from gen_jax.classical.components import Mixture, Whitening, factors, inverse_factors, log_joint
from gen_jax.types import Array, Bool, Float

BLOCK_ELEMENTS = 250_000
"""Residuals held at once: about the cache of one core."""

EMPTY = 0.1
"""A component that answers for less than this share of one point is moved elsewhere."""


class Sums(NamedTuple):
    """Over the points: r [K], r y [K, D], r y y^T [K, D, D] or [K, D], and log p []."""

    counts: Float[Array, "K"]
    first: Float[Array, "K D"]
    second: Float[Array, "K D *D"]
    log_prob: Float[Array, ""]


class Blocks(NamedTuple):
    """Points in columns, in M blocks, the last one filled up; `real` is 1 for a point, else 0."""

    x: Float[Array, "M D B"]
    real: Float[Array, "M B"]


def in_blocks(x: Float[Array, "N D"], k: int) -> Blocks:
    """Cut the points so that a block's residuals have about BLOCK_ELEMENTS numbers."""
    n, dim = x.shape
    size = min(max(BLOCK_ELEMENTS // (k * dim), 128), n)
    padded = jnp.pad(x, ((0, -n % size), (0, 0)))
    real = (jnp.arange(padded.shape[0]) < n).astype(x.dtype)
    return Blocks(padded.reshape(-1, size, dim).swapaxes(1, 2), real.reshape(-1, size))


def block_sums(w: Whitening, x: Float[Array, "D B"], real: Float[Array, "B"]):
    """The `Sums` of one block and log p of its points [B], inf where they are not real."""
    joint, y = log_joint(w, x)
    highest = joint.max(0)
    weights = jnp.exp(joint - highest)
    total = weights.sum(0)
    log_p = highest + jnp.log(total)
    r = weights * (real / total)
    ry = r[:, None] * y
    if w.inverses.ndim == 2:
        second = jnp.sum(ry * y, 2)
    else:
        second = jnp.einsum("kin,kjn->kij", ry, y, precision="highest")
    sums = Sums(r.sum(1), ry.sum(2), second, jnp.sum(log_p * real))
    return sums, jnp.where(real > 0, log_p, jnp.inf)


def e_step(mixture: Mixture, blocks: Blocks) -> tuple[Sums, Float[Array, "M B"]]:
    """The sums over all points and log p of each [M, B], inf where a block is filled up."""
    inverses = inverse_factors(factors(mixture.covariances))
    w = Whitening(jnp.log(mixture.weights), mixture.means, inverses)

    def add(sums, block):
        more, log_p = block_sums(w, *block)
        return jax.tree.map(jnp.add, sums, more), log_p

    shapes = jax.eval_shape(block_sums, w, blocks.x[0], blocks.real[0])[0]
    return jax.lax.scan(add, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes), blocks)


def m_step(mixture: Mixture, sums: Sums, floor: float | Array) -> Mixture:
    """The mixture that maximises the expected log-likelihood, with `floor` added to its variances.

    The floor is one number or one per dimension [D].

    A component without any responsibility keeps its mean and covariance, with weight 0.
    """
    tiny = jnp.finfo(sums.counts.dtype).tiny
    count = jnp.maximum(sums.counts, tiny)
    shift = sums.first / count[:, None]
    lower = factors(mixture.covariances)
    if lower.ndim == 2:
        means = mixture.means + lower * shift
        spread = sums.second / count[:, None] - shift**2
        covariances = lower**2 * spread + floor
    else:
        means = mixture.means + jnp.einsum("kij,kj->ki", lower, shift, precision="highest")
        spread = sums.second / count[:, None, None] - shift[:, :, None] * shift[:, None]
        product = partial(jnp.matmul, precision="highest")
        covariances = product(product(lower, spread), lower.swapaxes(1, 2))
        covariances = covariances + floor * jnp.eye(lower.shape[-1], dtype=lower.dtype)
    gone = sums.counts < tiny
    weights = sums.counts / sums.counts.sum()
    return Mixture(
        weights,
        _choose(gone, mixture.means, means),
        _choose(gone, mixture.covariances, covariances),
    )


def _choose(
    which: Bool[Array, "K"], ours: Float[Array, "..."], theirs: Float[Array, "K ..."]
) -> Float[Array, "K ..."]:
    """`ours` for the components in question, `theirs` for the others."""
    return jnp.where(expand(which, theirs), ours, theirs)


def rescue(
    mixture: Mixture, count: Float[Array, "K"], blocks: Blocks, log_p: Float[Array, "M B"]
) -> Mixture:
    """Move empty components to the points with the lowest log p, as wide as the average one."""
    empty = count < EMPTY
    k, dim = mixture.means.shape
    _, worst = jax.lax.top_k(-log_p.ravel(), min(k, log_p.size))
    place = worst[jnp.clip(jnp.cumsum(empty) - 1, 0, worst.size - 1)]
    points = blocks.x.swapaxes(1, 2).reshape(-1, dim)[place]
    pooled = jnp.tensordot(mixture.weights, mixture.covariances, 1)
    weights = jnp.where(empty, 1 / blocks.real.sum(), mixture.weights)
    return Mixture(
        weights / weights.sum(),
        _choose(empty, points, mixture.means),
        _choose(empty, pooled, mixture.covariances),
    )
