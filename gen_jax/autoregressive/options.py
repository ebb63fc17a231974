"""What an autoregressive model is made of: its options, their checks, its parts."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.autoregressive.factorisation import Factorisation
from gen_jax.autoregressive.likelihoods import Likelihood
from gen_jax.checks import check_output, is_known, no_type_check
from gen_jax.conditions import Condition, checked_condition
from gen_jax.data_units import to_model
from gen_jax.errors import ConfigError, DataError, check_shape
from gen_jax.ranges import Share, check_ranges
from gen_jax.types import Array, Float, Key, Num


class Options(NamedTuple):
    """What the constructors of this package share.

    Fields:
      shape: of one example after the transform.
      condition: None, or what batches hold besides "x", such as `conditions.labels(10)`.
      condition_dropout: probability of hiding an example's condition in training.
      ema_decay: of the parameters' moving average, which samples; smaller in the first steps.
      transform: `data.Transform` between data units and the likelihood's values, or None.
      dropout: whether the network has some to turn on in training.
      weights: of each place's log p in the loss [N], or None for 1.
    """

    shape: tuple[int, ...]
    condition: Condition | None = None
    condition_dropout: Share = 0.1
    ema_decay: Share = 0.999
    transform: Any = None
    dropout: bool = False
    weights: Any = None


def check_values(likelihood: Likelihood, u: Array) -> None:
    """Raise DataError for known values that a discrete likelihood gives no probability."""
    if likelihood.levels == 0 or not is_known(u) or u.size == 0:
        return
    low, high = int(np.asarray(u).min()), int(np.asarray(u).max())
    if low < 0 or high >= likelihood.levels:
        raise DataError(
            f"data in [{low}, {high}] for a model of values in [0, {likelihood.levels - 1}]"
        )


class Parts(NamedTuple):
    """What samples, densities and logits of a trained model are made of."""

    factorisation: Factorisation
    likelihood: Likelihood
    optimizer: optax.GradientTransformation
    options: Options

    @property
    def dtype(self) -> Any:
        """Of the values that are generated."""
        return jnp.int32 if self.likelihood.levels else jnp.float32

    def encode(self, key: Key[Array, "*batch"] | None, x: Any) -> Num[Array, "B N E"]:
        """Data units to the units of the model. Raises ConfigError or DataError."""
        u = to_model(self.options, key, jnp.asarray(x))
        check_values(self.likelihood, u)
        return u.reshape(u.shape[0], -1, self.likelihood.event)

    def raw(
        self, params: Any, u: Num[Array, "B N E"], value: Any, k: Any, **training: Any
    ) -> Float[Array, "B N P"]:
        """The numbers of every unit, from those before it in ordering k."""
        raw = self.factorisation.raw(params, u, value, k, **training)
        return check_output("network", raw, (*u.shape[:2], self.likelihood.size))

    def log_units(
        self, params: Any, u: Num[Array, "B N E"], value: Any, k: Any, **training: Any
    ) -> Float[Array, "B N"]:
        """log p of every unit given those before it in ordering k."""
        raw = self.raw(params, u, value, k, **training)
        return check_output("likelihood.log_prob", self.likelihood.log_prob(u, raw), u.shape[:2])


@no_type_check
def make_parts(
    factorisation: Factorisation,
    likelihood: Likelihood,
    optimizer: optax.GradientTransformation,
    options: Options,
) -> Parts:
    """The parts of a model. Raises ConfigError for values out of range."""
    checked_condition(options.condition)
    check_ranges(options)
    check_shape("shape", options.shape)
    return Parts(factorisation, likelihood, optimizer, options)


def checked_prompt(parts: Parts, prompt: Any, n: int) -> Num[Array, "n L"] | None:
    """Values [n, L] or None. Raises ConfigError when they are too many or do not fit."""
    if prompt is None:
        return None
    total, event = int(np.prod(parts.options.shape)), parts.likelihood.event
    prompt = jnp.asarray(prompt)
    if prompt.ndim not in (1, 2) or prompt.shape[:-1] not in ((), (n,)):
        raise ConfigError(f"prompt of shape {prompt.shape}, must be [L] or [{n}, L]")
    if prompt.shape[-1] > total:
        raise ConfigError(
            f"prompt of {prompt.shape[-1]} values is longer than the context, {total}"
        )
    if prompt.shape[-1] % event:
        raise ConfigError(f"prompt of {prompt.shape[-1]} values must be a multiple of {event}")
    if parts.options.transform is None:
        check_values(parts.likelihood, prompt)
    return jnp.broadcast_to(prompt, (n, prompt.shape[-1]))
