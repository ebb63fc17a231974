"""A trained GAN's critic made a density ratio again, and the samples that it lets pass."""

import math
from collections.abc import Callable
from typing import Any

import jax
import optax

from gen_jax.data_units import to_model
from gen_jax.gan.model import judgement_of, model_from_parts
from gen_jax.gan.options import GanState, Parts
from gen_jax.gan.rejection import discriminator_rejection, largest_logit, percentile_shift
from gen_jax.sampling.rejection import Rejection
from gen_jax.types import Array, Key


def sharpened_critic(
    key: Key[Array, ""],
    parts: Parts,
    state: GanState,
    batch_of: Callable[[Array, Any], dict[str, Array]],
    data: Any,
    optimizer: optax.GradientTransformation,
    num_steps: int = 500,
) -> GanState:
    """The critic trained on alone, without penalty, against samples as the model draws them.

    A penalty flattens a critic: one that R1 has brought to rest says 0 of everything.

    Args:
      batch_of: `(i, data) -> batch` of step i, traced.
    """
    statistics = {k: v for k, v in state.ema.items() if k != "params"}
    none = optax.set_to_zero()
    alone = parts._replace(
        penalty=None,
        critic_optimizer=optimizer,
        generator_optimizer=none,
        options=parts.options._replace(n_critic=1),
    )
    state = state._replace(
        generator=state.ema["params"],
        generator_stats=statistics,
        generator_optimizer=none.init(state.generator),
        critic_optimizer=optimizer.init(state.critic),
    )
    model = model_from_parts(alone)

    @jax.jit
    def step(state, i, data):
        return model.step(jax.random.fold_in(key, i), state, batch_of(i, data))[0]

    # Not a scan: in one, XLA's gradient of a convolution is ten times slower on a CPU.
    for i in range(num_steps):
        state = step(state, i, data)
    return state


def sample_by_rejection(
    key: Key[Array, ""],
    parts: Parts,
    state: GanState,
    n: int,
    percentile: float | None = None,
    batch_size: int = 256,
    fewest: float = 0.05,
) -> Rejection:
    """n samples that the critic lets pass (azadi2019); the bound is that of one free batch.

    Args:
      percentile: of the free logits, accepted half of the time; None for the exact rule. Ratios
        of images spread so widely that the exact rule would accept next to none.
      fewest: share of accepted samples below which the sampling is given up.
    """
    key_trial, key_draw = jax.random.split(key)
    model = model_from_parts(parts)
    sample = lambda key, m: model.sample(key, state, m)

    def logit(x):
        u = to_model(parts.options, jax.random.key(0), x)
        return judgement_of(parts, state, u).score

    trial = logit(sample(key_trial, batch_size))
    bound = largest_logit(trial)
    shift = 0.0 if percentile is None else percentile_shift(trial, bound, percentile)
    rounds = math.ceil(n / (fewest * batch_size))
    return discriminator_rejection(
        key_draw, sample, logit, bound, n, shift=shift, batch_size=batch_size, max_rounds=rounds
    )
