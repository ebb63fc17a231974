"""Squared distances of all pairs of two sets of points, and a unit in which they are numbers."""

import jax
import jax.numpy as jnp

from gen_jax.types import Array, Float

FEW = 8
"""Doubtful pairs in a row that are mended one after the other."""


def power_of_two(*sets: Float[Array, "..."], power: float = 1) -> Float[Array, ""]:
    """A unit in which all sets are of size 1, so that no power of a distance overflows or vanishes.

    A power of two, which rounds nothing, and no derivative. Its `power` is finite, above 0 and
    rounds nothing where it is whole; for sizes beyond that the sets are of another size than 1.
    """
    largest = jnp.max(jnp.stack([jnp.abs(x).max() for x in sets]))
    limit = int(jnp.finfo(largest.dtype).maxexp * 0.8 / power)
    exponent = jnp.clip(jnp.frexp(largest)[1], -limit, limit)
    unit = jnp.ldexp(jnp.ones((), largest.dtype), exponent)
    return jax.lax.stop_gradient(jnp.where(jnp.isfinite(largest) & (largest > 0), unit, 1))


def squared_distances(x: Float[Array, "M D"], y: Float[Array, "N D"]) -> Float[Array, "M N"]:
    """|x_i - y_j|^2 in the dtype of x, exactly 0 for equal points, and the same from y to x.

    By one matrix product, |x|^2 + |y|^2 - 2 x.y; where that loses more than a quarter of the digits
    to cancellation, and on a line, by differences. The fewer such pairs, the faster: centre the
    points.
    """
    if x.shape[1] == 1:  # a fused x^2 + y^2 is rounded otherwise than y^2 + x^2
        return (x - y.T) ** 2
    total = jnp.sum(x**2, 1)[:, None] + jnp.sum(y**2, 1)
    squares = total - 2 * jnp.matmul(x, y.T, precision="highest")
    # NaN and infinite squares are left as they are.
    doubtful = squares < jnp.finfo(x.dtype).eps ** 0.25 * total
    rows = jnp.arange(len(x))

    def mend_one(carry):
        squares, doubtful = carry
        columns = jnp.argmax(doubtful, 1)
        direct = jnp.sum((x - y[columns]) ** 2, 1)
        found = jnp.where(doubtful[rows, columns], direct, squares[rows, columns])
        return squares.at[rows, columns].set(found), doubtful.at[rows, columns].set(False)

    def mend_few(squares):
        return jax.lax.while_loop(lambda carry: carry[1].any(), mend_one, (squares, doubtful))[0]

    def mend_all(squares):
        direct = lambda row: jnp.where(row[1], jnp.sum((row[0] - y) ** 2, 1), row[2])
        return jax.lax.map(direct, (x, doubtful, squares))

    few = jnp.max(doubtful.sum(1)) <= FEW
    return jax.lax.cond(few, mend_few, mend_all, squares)
