"""Noise-contrastive estimation of an energy and its log Z, as a `GenerativeModel`."""

from functools import partial

import jax.numpy as jnp
import optax

from gen_jax.checks import no_type_check
from gen_jax.energy.model import energy_network, model_from_parts
from gen_jax.energy.noise_contrastive import noise_contrastive
from gen_jax.energy.normalizer import log_base
from gen_jax.energy.options import EnergyState, Method, Options, Parts, fresh, make_parts
from gen_jax.errors import check_range
from gen_jax.model import GenerativeModel
from gen_jax.ranges import options_from
from gen_jax.types import Array, Float


def _objective(ratio: int, parts: Parts, params, stats, key, x, batch, negatives):
    log_noise = lambda x: log_base(x, parts.options.base_std)
    noise = fresh(key, parts.options, ratio * len(x))
    log_ratio = lambda x: -energy_network(parts, params, stats, x) - params["log_z"]
    log_density = lambda x: log_noise(x) + log_ratio(x)
    loss, aux = noise_contrastive(log_density, log_noise, x, noise)
    return loss, {**aux, "log_z": jnp.broadcast_to(params["log_z"], loss.shape)}


def _learned_constant(state: EnergyState) -> Float[Array, ""]:
    return state.ema["log_z"]


@no_type_check
def nce(
    network, optimizer: optax.GradientTransformation, *, ratio: int = 4, **options
) -> GenerativeModel:
    """Data distinguished from draws of the base, `ratio` of them for each example (gutmann2010).

    log p(x) = log base(x) - F(x) - c: c, the parameter "log_z", ends at log Z. `log_prob` uses it:
    an estimate whose bias can have either sign, as p then need not integrate to 1. The base must
    cover the data well, so the method is one for few dimensions.

    Args:
      network: Flax module, `x [B, *shape] -> F(x) [B]`.
      options: fields of `Options`.
    Samples are annealed from the base. Raises ConfigError for numbers out of range.
    """
    check_range("ratio", ratio, 1, integer=True)
    method = Method(
        partial(_objective, ratio),
        log_constant=_learned_constant,
        extra={"log_z": jnp.zeros(())},
    )
    return model_from_parts(make_parts(network, optimizer, options_from(Options, options), method))
