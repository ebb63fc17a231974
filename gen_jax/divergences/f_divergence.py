"""f-divergences D_f(p || q) = E_q[f(p / q)], f convex with f(1) = 0 (csiszar1967, nowozin2016).

`F_DIVERGENCES` has everything that estimators and f-GANs need of each: the generator, its
derivative, its convex conjugate f*(t) = sup_u>=0 (u t - f(u)), and the output activation that maps
a network's number into the domain of f* (nowozin2016, table 2).

Scales: Jensen-Shannon is 1/2 KL(p || m) + 1/2 KL(q || m) with m = (p + q) / 2, at most log 2;
squared Hellinger is 1 - integral sqrt(p q) and total variation 1/2 integral |p - q|, both at
most 1. nowozin2016's generators of the first two are twice these.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax import safe
from gen_jax.annotations import floats
from gen_jax.checks import as_floats
from gen_jax.errors import check_choice
from gen_jax.types import Array, Bool, Float

LOG_2 = math.log(2)


class FDivergence(NamedTuple):
    """One f-divergence; every function is elementwise.

    Fields:
      generator_of_log: `log u -> f(u)`, with the limit at -inf.
      adjoint_of_log: `log u -> u f(1 / u)`, the generator of D_f(q || p).
      optimal_critic: `log u -> f'(u)`: at log(p / q) the T that attains the dual.
      conjugate: f*(t); infinite outside its domain.
      activation: v -> t, from the real line into the domain of f*, rising.
      conjugate_activation: v -> f*(activation(v)), in one stable form.
    """

    generator_of_log: Callable[[Array], Array]
    adjoint_of_log: Callable[[Array], Array]
    optimal_critic: Callable[[Array], Array]
    conjugate: Callable[[Array], Array]
    activation: Callable[[Array], Array]
    conjugate_activation: Callable[[Array], Array]

    def generator(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        """f(u), u >= 0."""
        u = as_floats("u", u)
        end = jnp.asarray(-jnp.inf, u.dtype)
        return self.generator_of_log(safe.log(u)) + at_zero(u, self.optimal_critic(end))

    def derivative(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        """f'(u), u > 0."""
        return self.optimal_critic(jnp.log(as_floats("u", u)))


def at_zero(
    x: Float[Array, "..."], slope: Float[Array, ""], where: Bool[Array, "..."] | bool = True
) -> Float[Array, "..."]:
    """0, with the derivative `slope` at x = 0 if it is finite; else, and for other x, with 0."""
    slope = jnp.where(jnp.isfinite(slope), slope, 0)
    return jnp.where((x == 0) & where, slope * x, 0)


def _u_log_u(log_u):
    lowest = jnp.finfo(log_u.dtype).min
    return jnp.maximum(log_u, lowest) * jnp.exp(log_u)  # 0 at -inf, and so is its slope


def _jensen_shannon(log_u):
    u = jnp.exp(log_u)
    return 0.5 * (_u_log_u(log_u) - (1 + u) * (jnp.log1p(u) - LOG_2))


def _total_variation(log_u):
    return 0.5 * safe.absolute(jnp.expm1(log_u))


def _squared_hellinger(log_u):
    return 0.5 * jnp.expm1(log_u / 2) ** 2


def _pearson(log_u):
    return jnp.expm1(log_u) ** 2


def _neyman(log_u):
    return jnp.expm1(log_u) ** 2 * jnp.exp(-log_u)


def _below(t, bound, value):
    """value(t) where t < bound, else infinity; `value` never sees the others."""
    inside = t < bound
    return jnp.where(inside, value(jnp.where(inside, t, bound - 1)), jnp.inf)


def _log_sigmoid_half(v):
    return 0.5 * (LOG_2 + jax.nn.log_sigmoid(v))


F_DIVERGENCES: dict[str, FDivergence] = {
    "kl": FDivergence(
        generator_of_log=_u_log_u,
        adjoint_of_log=lambda log_u: -log_u,
        optimal_critic=lambda log_u: 1 + log_u,
        conjugate=lambda t: jnp.exp(t - 1),
        activation=lambda v: v,
        conjugate_activation=lambda v: jnp.exp(v - 1),
    ),
    "reverse_kl": FDivergence(
        generator_of_log=lambda log_u: -log_u,
        adjoint_of_log=_u_log_u,
        optimal_critic=lambda log_u: -jnp.exp(-log_u),
        conjugate=lambda t: _below(t, 0, lambda t: -1 - jnp.log(-t)),
        activation=lambda v: -jnp.exp(-v),
        conjugate_activation=lambda v: v - 1,
    ),
    "jensen_shannon": FDivergence(
        generator_of_log=_jensen_shannon,
        adjoint_of_log=_jensen_shannon,
        optimal_critic=_log_sigmoid_half,
        conjugate=lambda t: _below(t, LOG_2 / 2, lambda t: -0.5 * jnp.log(2 - jnp.exp(2 * t))),
        activation=_log_sigmoid_half,
        conjugate_activation=lambda v: -_log_sigmoid_half(-v),
    ),
    "total_variation": FDivergence(
        generator_of_log=_total_variation,
        adjoint_of_log=_total_variation,
        optimal_critic=lambda log_u: 0.5 * jnp.sign(log_u),
        conjugate=lambda t: jnp.where(t <= 0.5, jnp.maximum(t, -0.5), jnp.inf),
        activation=lambda v: 0.5 * jnp.tanh(v),
        conjugate_activation=lambda v: 0.5 * jnp.tanh(v),
    ),
    "squared_hellinger": FDivergence(
        generator_of_log=_squared_hellinger,
        adjoint_of_log=_squared_hellinger,
        optimal_critic=lambda log_u: -0.5 * jnp.expm1(-log_u / 2),
        conjugate=lambda t: _below(t, 0.5, lambda t: t / (1 - 2 * t)),
        activation=lambda v: -0.5 * jnp.expm1(-v),
        conjugate_activation=lambda v: 0.5 * jnp.expm1(v),
    ),
    "chi_square": FDivergence(  # Pearson's, E_q[(p / q - 1)^2]
        generator_of_log=_pearson,
        adjoint_of_log=_neyman,
        optimal_critic=lambda log_u: 2 * jnp.expm1(log_u),
        conjugate=lambda t: jnp.maximum(t, -2) + jnp.maximum(t, -2) ** 2 / 4,
        activation=lambda v: v,
        conjugate_activation=lambda v: jnp.maximum(v, -2) + jnp.maximum(v, -2) ** 2 / 4,
    ),
    "neyman_chi_square": FDivergence(  # E_p[(q / p - 1)^2]
        generator_of_log=_neyman,
        adjoint_of_log=_pearson,
        optimal_critic=lambda log_u: -jnp.expm1(-2 * log_u),
        conjugate=lambda t: jnp.where(t == 1, 2, _below(t, 1, lambda t: 2 - 2 * jnp.sqrt(1 - t))),
        activation=lambda v: -jnp.expm1(-v),
        conjugate_activation=lambda v: -2 * jnp.expm1(-v / 2),
    ),
}
"""Every f-divergence by name."""


def f_divergence(divergence: str | FDivergence) -> FDivergence:
    """The row of that name, or the divergence itself; ConfigError for unknown names."""
    if isinstance(divergence, FDivergence):
        return divergence
    return F_DIVERGENCES[check_choice("divergence", divergence, F_DIVERGENCES)]


@floats(log_p="...", log_q="...")
def perspective(
    divergence: str | FDivergence, log_p: Float[Array, "..."], log_q: Float[Array, "..."]
) -> Float[Array, "..."]:
    """q f(p / q) from log p and log q: what D_f sums. -inf stands for a probability of 0.

    Where p > q it is p times the adjoint of q / p, so that no ratio overflows; 0 f(0 / 0) = 0.
    Its gradient is finite wherever it is, also where a ratio underflows, and 0 where it is not.
    """
    row = f_divergence(divergence)
    empty = jnp.maximum(log_p, log_q) == -jnp.inf
    log_p, log_q = jnp.where(empty, 0, log_p), jnp.where(empty, 0, log_q)

    def value(log_p, log_q):
        below = log_p <= log_q
        gap = log_p - log_q
        # Each branch sees only its half of the gaps: an unused infinity would spoil the gradient.
        forward = row.generator_of_log(jnp.where(below, gap, 0))
        backward = row.adjoint_of_log(jnp.where(below, 0, -gap))
        return jnp.exp(jnp.where(below, log_q, log_p)) * jnp.where(below, forward, backward)

    infinite = jnp.isinf(value(log_p, log_q))
    terms = value(jnp.where(infinite, 0, log_p), jnp.where(infinite, 0, log_q))
    return jnp.where(empty, 0, jnp.where(infinite, jnp.inf, terms))
