"""A trained GAN's critic made a density ratio again, and the samples that it lets pass."""

import math
from collections.abc import Callable
from typing import Any

import jax
import optax

from gen_jax.frozen import parts_of
from gen_jax.gan.generate import critic
from gen_jax.gan.model import model_from_parts
from gen_jax.gan.options import Parts
from gen_jax.gan.rejection import discriminator_rejection, largest_logit, percentile_shift
from gen_jax.model import GenerativeModel
from gen_jax.sampling.rejection import Rejection
from gen_jax.types import Array, Key, State


def sharpened_critic(
    key: Key[Array, ""],
    model: GenerativeModel,
    state: State,
    batch_of: Callable[[Array, Any], dict[str, Array]],
    data: Any,
    optimizer: optax.GradientTransformation,
    num_steps: int = 500,
) -> State:
    """The state with a critic trained on alone, without penalty, against the model's samples.

    A penalty flattens a critic: one that R1 has brought to rest says 0 of everything. The state is
    for sampling and judging: its optimizers are those of this training.

    Args:
      batch_of: `(i, data) -> batch` of step i, traced.
    """
    parts, own = parts_of(model, state, Parts)
    statistics = {k: v for k, v in own.ema.items() if k != "params"}
    none = optax.set_to_zero()
    alone = parts._replace(
        penalty=None,
        critic_optimizer=optimizer,
        generator_optimizer=none,
        options=parts.options._replace(n_critic=1),
    )
    own = own._replace(
        generator=own.ema["params"],
        generator_stats=statistics,
        generator_optimizer=none.init(own.generator),
        critic_optimizer=optimizer.init(own.critic),
    )
    trained = model_from_parts(alone)

    @jax.jit
    def step(state, i, data):
        return trained.step(jax.random.fold_in(key, i), state, batch_of(i, data))[0]

    # Not a scan: in one, XLA's gradient of a convolution is ten times slower on a CPU.
    for i in range(num_steps):
        own = step(own, i, data)
    return own


def sample_by_rejection(
    key: Key[Array, ""],
    model: GenerativeModel,
    state: State,
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
    draw: Any = model.sample
    sample = lambda key, m: draw(key, state, m)
    judge = critic(model, state)
    logit = lambda x: judge(x).score
    trial = logit(sample(key_trial, batch_size))
    bound = largest_logit(trial)
    shift = 0.0 if percentile is None else percentile_shift(trial, bound, percentile)
    rounds = math.ceil(n / (fewest * batch_size))
    return discriminator_rejection(
        key_draw, sample, logit, bound, n, shift=shift, batch_size=batch_size, max_rounds=rounds
    )
