"""What a trained GAN gives: latents, samples, its generator and its critic as functions."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.condition_values import check_complete, value_of
from gen_jax.data_units import Data, to_data, to_model_floats
from gen_jax.errors import ConfigError
from gen_jax.frozen import parts_of
from gen_jax.gan.networks import apply_critic, draw_latent, generate
from gen_jax.gan.options import GanState, Parts
from gen_jax.gan_nets.critic_output import CriticOutput, wanted
from gen_jax.model import GenerativeModel
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.types import Array, Float, Key, Shaped, State


def truncated(z: Float[Array, "B L"], truncation: float | Float[Array, ""]) -> Float[Array, "B L"]:
    """N(0, I) mapped to the normal law within +-truncation, each entry rising (brock2019).

    The entry's quantile is kept instead of drawing again, so that one key gives one path of images
    from varied to typical. Quantiles are those of the lower tail, which has the digits that numbers
    near 1 have not.
    """
    cdf, low = jax.scipy.stats.norm.cdf, jax.scipy.stats.norm.cdf(-truncation)
    sign = jnp.where(z < 0, 1, -1)  # not that of z, which has no slope at 0
    return sign * jax.scipy.special.ndtri(low + (1 - 2 * low) * cdf(sign * z))


def checked_code(size: int, code: Any, n: int) -> Float[Array, "n C"]:
    """Codes of n samples from one or n of them. Raises ConfigError for another shape."""
    if np.shape(code) not in ((size,), (n, size)):
        raise ConfigError(f"code must have shape [{size}] or [{n}, {size}], got {np.shape(code)}")
    return jnp.broadcast_to(jnp.asarray(code, jnp.float32), (n, size))


def truncates(parts: Parts) -> bool:
    """Whether the generator truncates by itself, so that its latents are left whole."""
    return bool(wanted(parts.generator, {"truncation": None}))


def draw_latents(
    parts: Parts,
    keys: Key[Array, "n"],
    code: Array | None,
    truncation: float | Float[Array, ""] | None,
) -> Float[Array, "n L"]:
    """z with a given code, or drawn; its normal part within +-truncation."""
    z, size = draw_latent(keys, parts.options), parts.options.latent
    noise, drawn = z[:, :size], z[:, size:]
    if truncation is not None and not truncates(parts):
        noise = truncated(noise, truncation)
    if code is not None:
        drawn = checked_code(sum(parts.options.code), code, len(keys))
    return jnp.concatenate([noise, drawn], 1)


def examples(
    parts: Parts,
    state: GanState,
    keys: Key[Array, "n"],
    z: Float[Array, "n L"],
    conditions: dict[str, Any],
    truncation: float | Float[Array, ""] | None = None,
    data_units: bool = True,
) -> Shaped[Array, "n ..."]:
    """Examples of the moving average at given latents, in data units or as the generator returns
    them; a condition that is not given is drawn. Raises ConfigError where it cannot be.
    """
    condition = parts.options.condition
    value = value_of(condition, conditions, len(z))
    if condition is not None:
        value = condition.or_drawn(value, fold_in(keys, 5))
    stats = {name: arrays for name, arrays in state.ema.items() if name != "params"}
    offered: dict[str, Any] = {} if truncation is None else {"truncation": truncation}
    params = state.ema["params"]
    x, _ = generate(parts, params, stats, keys, z, value, state.step, **offered)
    return to_data(parts.options, x) if data_units else x


def draw_samples(
    parts: Parts,
    key: Key[Array, "*batch"],
    state: GanState,
    n: int,
    *,
    truncation: float | Float[Array, ""] | None = None,
    code: Float[Array, "*n C"] | None = None,
    **conditions: Any,
) -> Shaped[Array, "n ..."]:
    """n examples of the moving average in data units; labels and codes are drawn if not given.

    Args:
      truncation: passed to the generator if it takes one, else the largest |z| (`truncated`).
      code: [C] or [n, C] for "info", a one-hot category and then numbers in [-1, 1].
    """
    keys = sample_keys(key, n)
    z = draw_latents(parts, keys, code, truncation)
    return examples(parts, state, keys, z, conditions, truncation)


def latents(
    key: Key[Array, "*batch"],
    model: GenerativeModel,
    state: State,
    n: int,
    *,
    truncation: float | Float[Array, ""] | None = None,
    code: Float[Array, "*n C"] | None = None,
) -> Float[Array, "n L"]:
    """The latents of `model.sample` with these arguments: z, and beside it the code of "info"."""
    parts, _ = parts_of(model, state, Parts)
    return draw_latents(parts, sample_keys(key, n), code, truncation)


def generator(
    model: GenerativeModel,
    state: State,
    *,
    truncation: float | Float[Array, ""] | None = None,
    data_units: bool = True,
    **conditions: Any,
) -> Callable[..., Shaped[Array, "B ..."]]:
    """`make(z [B, L], key=jax.random.key(0)) -> x [B, ...]` of the moving average, in data units.

    The key, or one for each example, is of the noise inside the generator. Keys [B] in place of z
    draw it: `make(keys)` is `model.sample(keys, state, B)`.

    Args:
      truncation: as of `model.sample`.
      data_units: False for what the generator returns at a given z: in data units images are
        rounded, and have no derivative in z.
      conditions: such as label=3, for all examples, or [B]; drawn where they are not given.
    Raises ConfigError for a model of another family, and for a condition that does not fit.
    """
    parts, own = parts_of(model, state, Parts)

    def make(z: Array, key: Key[Array, "*batch"] | None = None) -> Shaped[Array, "B ..."]:
        if jax.dtypes.issubdtype(z.dtype, jax.dtypes.prng_key):
            return draw_samples(parts, z, own, len(z), truncation=truncation, **conditions)
        keys = sample_keys(jax.random.key(0) if key is None else key, len(z))
        return examples(parts, own, keys, z, conditions, truncation, data_units)

    return make


def critic(
    model: GenerativeModel, state: State, **conditions: Any
) -> Callable[[Data], CriticOutput]:
    """`judge(x [B, ...]) -> CriticOutput` of the critic as it was trained, of x in data units.

    Args:
      conditions: such as label=3, for all examples, or [B].
    Raises ConfigError for a model of another family, and where the critic sees a condition that is
    not given.
    """
    parts, own = parts_of(model, state, Parts)

    def judge(x: Data) -> CriticOutput:
        condition = parts.options.condition
        value = value_of(condition, conditions, len(x))
        if parts.critic_sees:
            check_complete(condition, value, "the critic sees it")
        u = to_model_floats(parts.options, jax.random.key(0), x)
        return apply_critic(parts, own.critic, own.critic_stats, None, u, value, own.step)[0]

    return judge
