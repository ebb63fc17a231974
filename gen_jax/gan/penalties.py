"""Penalties on the slope of a critic, of its scores at real and generated examples.

`PENALTIES[name](key, critic, real, fake) -> [B]`, `critic: x [B, ...] -> [B]`; the caller's weight
multiplies the mean. The slope is the gradient of the sum of the scores, its norm over all axes of
an example: for a critic that judges each example by itself this is each one's own gradient. Batch
normalisation has no such slope, and `gan` refuses it.

    wgan_gp  (|grad| - 1)^2 on lines between real and fake      (gulrajani2017)
    wgan_lp  max(|grad| - 1, 0)^2 on the same lines             (petzka2018)
    dragan   (|grad| - 1)^2 around the real examples            (kodali2017)
    r1       |grad|^2 / 2 at the real examples                  (mescheder2018)
    r2       |grad|^2 / 2 at the generated ones
    r1_r2    both                                               (huang2024)
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax import safe
from gen_jax.batching import as_rows
from gen_jax.checks import per_point
from gen_jax.errors import check_choice
from gen_jax.randomness import sample_keys
from gen_jax.types import Array, Float, Key

Scores = Callable[[Float[Array, "B ..."]], Float[Array, "B"]]
Penalty = Callable[[Array, Scores, Array, Array], Array]


def squared_slope(critic: Scores, x: Float[Array, "B ..."]) -> Float[Array, "B"]:
    """|grad of the critic|^2 at each example."""
    critic = per_point("critic", critic)
    gradient = jax.grad(lambda x: jnp.sum(critic(x)))(x)
    return jnp.sum(as_rows(gradient) ** 2, axis=1)


def slope(critic: Scores, x: Float[Array, "B ..."]) -> Float[Array, "B"]:
    """|grad of the critic| at each example, whose own slope is 0 where it is 0, and not NaN."""
    return safe.sqrt(squared_slope(critic, x))


def _uniform(key: Key[Array, ""], x: Float[Array, "B ..."], shape: tuple[int, ...]) -> Array:
    return jax.vmap(lambda k: jax.random.uniform(k, shape, x.dtype))(sample_keys(key, len(x)))


def between(
    key: Key[Array, ""], real: Float[Array, "B ..."], fake: Float[Array, "B ..."]
) -> Float[Array, "B ..."]:
    """One uniform point of the line from each real example to its generated partner."""
    share = _uniform(key, real, (1,) * (real.ndim - 1))
    return share * real + (1 - share) * fake


def wgan_gp(key, critic: Scores, real, fake) -> Float[Array, "B"]:
    """(|grad| - 1)^2 between real and generated examples."""
    return (slope(critic, between(key, real, fake)) - 1) ** 2


def wgan_lp(key, critic: Scores, real, fake) -> Float[Array, "B"]:
    """max(|grad| - 1, 0)^2 there: a 1-Lipschitz critic costs nothing, flat or steep."""
    return jax.nn.relu(slope(critic, between(key, real, fake)) - 1) ** 2


def dragan(key, critic: Scores, real, fake) -> Float[Array, "B"]:
    """(|grad| - 1)^2 at real + s U, s half the batch's standard deviation, U uniform in [-1, 1].

    The authors' code draws U in [0, 1], which moves all examples the same way; this is symmetric.
    """
    noise = 2 * _uniform(key, real, real.shape[1:]) - 1
    return (slope(critic, real + 0.5 * jnp.std(real) * noise) - 1) ** 2


def r1(key, critic: Scores, real, fake) -> Float[Array, "B"]:
    """|grad|^2 / 2 at real examples; the weight is the papers' gamma."""
    return 0.5 * squared_slope(critic, real)


def r2(key, critic: Scores, real, fake) -> Float[Array, "B"]:
    """|grad|^2 / 2 at generated examples."""
    return 0.5 * squared_slope(critic, fake)


def r1_r2(key, critic: Scores, real, fake) -> Float[Array, "B"]:
    """`r1` and `r2`."""
    return r1(key, critic, real, fake) + r2(key, critic, real, fake)


PENALTIES: dict[str, Penalty] = {
    "wgan_gp": wgan_gp,
    "wgan_lp": wgan_lp,
    "dragan": dragan,
    "r1": r1,
    "r2": r2,
    "r1_r2": r1_r2,
}
"""Every penalty on the slope. Clipping, consensus and orthogonality act on the parameters: see
`remedies`, `consensus` and `orthogonal`."""

USUAL_WEIGHTS = {
    "wgan_gp": 10.0,
    "wgan_lp": 10.0,
    "dragan": 10.0,
    "r1": 1.0,
    "r2": 1.0,
    "r1_r2": 1.0,
}
"""The papers' weights; that of r1 and r2 grows with the number of pixels."""


def find_penalty(penalty: str | Penalty) -> Penalty:
    """The row of that name, or the penalty itself; ConfigError for unknown names."""
    if callable(penalty):
        return penalty
    return PENALTIES[check_choice("penalty", penalty, PENALTIES)]
