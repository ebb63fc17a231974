"""Divergences as suprema over critics: lower bounds from samples alone (S0, "Duality"; S2, S4).

An objective takes the critic's numbers at draws of p and at draws of q, [B] each. For any critic
its expectation is at most the divergence, with equality for the optimal one:

    Donsker-Varadhan        KL(p || q) = sup E_p[T] - log E_q[e^T]            T = log(p/q) + c
    Fenchel dual            D_f(p || q) = sup E_p[T] - E_q[f*(T)]             T = f'(p/q)
    Jensen-Shannon          2 JS = sup E_p[log D] + E_q[log(1 - D)] + log 4   D = p / (p + q)
    Kantorovich-Rubinstein  W_1 = sup over |T(x) - T(y)| <= |x - y| of E_p[T] - E_q[T]
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gen_jax.annotations import floats
from gen_jax.checks import as_key, per_point
from gen_jax.divergences.f_divergence import F_DIVERGENCES, FDivergence, f_divergence
from gen_jax.errors import check_range
from gen_jax.optimization import apply_gradient, start_moments
from gen_jax.types import Array, Float, Key

Objective = Callable[[Array, Array], Array]

scores = floats(scores_p="N", scores_q="M")


@scores
def donsker_varadhan(scores_p: Float[Array, "N"], scores_q: Float[Array, "M"]) -> Float[Array, ""]:
    """mean T - log mean e^T, at most KL(p || q) (donsker1983; S0 eq. 17).

    The logarithm of a mean over few samples is too small on average, which makes the bound too
    high: evaluate on many.
    """
    log_mean = jax.nn.logsumexp(scores_q) - jnp.log(scores_q.shape[0])
    return jnp.mean(scores_p) - log_mean


@floats(t_p="N", t_q="M")
def fenchel_dual(
    divergence: str | FDivergence, t_p: Float[Array, "N"], t_q: Float[Array, "M"]
) -> Float[Array, ""]:
    """mean T - mean f*(T) for T in the domain of f* (nguyen2010, nowozin2016 eq. 4)."""
    return jnp.mean(t_p) - jnp.mean(f_divergence(divergence).conjugate(t_q))


@scores
def f_dual(
    divergence: str | FDivergence, scores_p: Float[Array, "N"], scores_q: Float[Array, "M"]
) -> Float[Array, ""]:
    """`fenchel_dual` at T = activation(score), for any real scores (nowozin2016 eq. 6)."""
    row = f_divergence(divergence)
    return jnp.mean(row.activation(scores_p)) - jnp.mean(row.conjugate_activation(scores_q))


@floats(logits_p="N", logits_q="M")
def jensen_shannon_dual(
    logits_p: Float[Array, "N"], logits_q: Float[Array, "M"]
) -> Float[Array, ""]:
    """1/2 mean log D + 1/2 mean log(1 - D) + log 2, D = sigmoid(logit): at most JS (S0 eq. 19).

    Twice this minus log 4 is the GAN's value V(G, D) (goodfellow2014; S4 prints + log 4).
    """
    return f_dual("jensen_shannon", logits_p, logits_q)


@scores
def kantorovich_rubinstein(
    scores_p: Float[Array, "N"], scores_q: Float[Array, "M"]
) -> Float[Array, ""]:
    """mean T - mean T, at most W_1(p, q) if T is 1-Lipschitz, which is the caller's to ensure."""
    return jnp.mean(scores_p) - jnp.mean(scores_q)


OBJECTIVES: dict[str, Objective] = {
    "donsker_varadhan": donsker_varadhan,
    "kantorovich_rubinstein": kantorovich_rubinstein,
    **{f"{name}_dual": partial(f_dual, name) for name in F_DIVERGENCES},
}
"""`OBJECTIVES[name](scores_p [N], scores_q [M]) -> []`, of unconstrained scores."""


def train_critic(
    key: Key[Array, ""],
    objective: Objective,
    critic: Callable[[Any, Array], Array],
    params: Any,
    sample_p: Callable[[Array, int], Array],
    sample_q: Callable[[Array, int], Array],
    *,
    steps: int = 1000,
    batch_size: int = 512,
    optimizer: optax.GradientTransformation | None = None,
    penalty: Callable[..., Array] | None = None,
) -> tuple[Any, Float[Array, "steps"]]:
    """Ascend an objective on fresh draws: (trained params, objective at each step), one scan.

    Args:
      critic: `(params, x [B, ...]) -> scores [B]`.
      sample_p, sample_q: `(key, B) -> x [B, ...]`.
      optimizer: optax; Adam of rate 1e-3 by default.
      penalty: `(key, critic of x, x_p, x_q) -> [B]`, whose mean is subtracted; its weight
        included.
    The values are of the training batches: evaluate `objective` on fresh ones for the bound.
    """
    key = as_key("key", key)
    check_range("steps", steps, 1, integer=True)
    check_range("batch_size", batch_size, 2, integer=True)
    optimizer = optax.adam(1e-3) if optimizer is None else optimizer

    def loss(params, key):
        key_p, key_q, key_penalty = jax.random.split(key, 3)
        x_p, x_q = sample_p(key_p, batch_size), sample_q(key_q, batch_size)
        judge = per_point("critic", partial(critic, params))
        value = objective(judge(x_p), judge(x_q))
        if penalty is None:
            return -value, value
        cost = penalty(key_penalty, judge, x_p, x_q)
        return jnp.mean(cost) - value, value

    def update(carry, key):
        params, state = carry
        gradient, value = jax.grad(loss, has_aux=True)(params, key)
        of_params = lambda params: loss(params, key)[0]
        return apply_gradient(optimizer, gradient, state, params, -value, of_params), value

    start = (params, start_moments(optimizer, params))
    (params, _), values = jax.lax.scan(update, start, jax.random.split(key, steps))
    return params, values
