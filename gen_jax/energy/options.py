"""What an energy model is made of: its state, its options and their checks."""

from collections.abc import Callable
from typing import Any, NamedTuple

import optax

from gen_jax.checks import as_network, no_type_check
from gen_jax.conditions import Condition
from gen_jax.energy.normalizer import Annealing
from gen_jax.errors import check_shape
from gen_jax.randomness import normal, sample_keys
from gen_jax.ranges import Count, MaybePositive, Natural, Positive, Share, Weight, check_ranges
from gen_jax.types import Array, Float, Int, Key


class EnergyState(NamedTuple):
    """Everything a run carries.

    Fields:
      params: {"network": ...} and what a method learns besides; `ema` is their moving average.
      stats: {} or {"batch_stats": ...}, the power iterations of spectral norms.
      buffer: chains of the replay buffer [N, *shape], or None.
      key: of the annealing that estimates log Z, so that log p(x) is a function of the state.
      step: count.
    """

    params: Any
    ema: Any
    stats: Any
    optimizer: Any
    buffer: Float[Array, "N ..."] | None
    key: Key[Array, ""]
    step: Int[Array, ""]


class Options(NamedTuple):
    """Options that all energy models share.

    Fields:
      shape: of one example after the transform.
      base_std: of the base N(0, base_std^2 I) that the network tilts; wider than the data.
      transform: `data.Transform` between data units and the model's, or None.
      data_noise: standard deviation of noise on the data in training: the model is of noisy data.
      ema_decay: of the parameters' moving average, which samples; smaller in the first steps.
      annealing: for log Z, and for samples of methods without chains.
    """

    shape: tuple[int, ...]
    base_std: Positive = 1.0
    transform: Any = None
    data_noise: Weight = 0.0
    ema_decay: Share = 0.999
    annealing: Annealing = Annealing()


class ChainOptions(NamedTuple):
    """The chains of contrastive training, see `run_chains`.

    Fields:
      num_steps, step_size, temperature, clip: of `run_chains`.
      buffer_size: chains kept between updates; 0 starts all of them at the base (short runs).
      reinit: probability of a buffered chain to start again at the base.
      sample_steps: further steps with which samples leave the buffer.
    """

    num_steps: Count = 40
    step_size: Positive = 1e-3
    temperature: Positive = 1.0
    clip: MaybePositive = None
    buffer_size: Natural = 10_000
    reinit: Share = 0.05
    sample_steps: Count = 100


class Method(NamedTuple):
    """How one method trains; `F` is the network's tilt of the base.

    Fields:
      objective: `(parts, params, stats, key, x, batch, negatives) -> ([B], aux of [B])`, of x in
        the model's units.
      negatives: `(parts, key, params, stats, buffer, x) -> (negatives, buffer, metrics)`, or None.
      sample: `(parts, key, state, n, **options) -> x [n, *shape]` in data units; None for samples
        annealed from the base.
      log_constant: `state -> log Z` where it is learned; None for log Z by annealing.
      extra: a dict of parameters besides the network's, or None.
      buffer_size: rows of the buffer, 0 for none.
    """

    objective: Callable
    negatives: Callable | None = None
    sample: Callable | None = None
    log_constant: Callable[[EnergyState], Array] | None = None
    extra: Any = None
    buffer_size: int = 0


class Parts(NamedTuple):
    """What an energy model is made of; with a condition the network returns logits [B, K]."""

    network: Any
    optimizer: optax.GradientTransformation
    options: Options
    method: Method
    condition: Condition | None = None


@no_type_check
def make_parts(
    network: Any,
    optimizer: optax.GradientTransformation,
    options: Options,
    method: Method,
    condition: Condition | None = None,
) -> Parts:
    """The parts of a model. Raises ConfigError for numbers out of range."""
    as_network("network", network)
    check_shape("shape", options.shape)
    check_ranges(options)
    return Parts(network, optimizer, options, method, condition)


def fresh(key: Key[Array, "*batch"], options: Options, n: int) -> Float[Array, "n ..."]:
    """n draws of the base."""
    return options.base_std * normal(sample_keys(key, n), tuple(options.shape))
