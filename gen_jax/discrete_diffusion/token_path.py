"""Noise for tokens (austin2021): each token is kept with probability a(t), else drawn from pi.

    q(x_t = v | x0) = a(t) [v = x0] + (1 - a(t)) pi(v),   t = 0 is data, t = 1 is noise.

With r = a(t) / a(s) the forward step from s to t is r [x_t = x_s] + (1 - r) pi(x_t). Everything
about the reverse step follows from w(v) = p(x0 = v | x_t) / q(x_t | x0 = v):

    p(x_s = v | x_t) = (r [v = x_t] + (1 - r) pi(x_t)) (a(s) w(v) + (1 - a(s)) pi(v) sum_u w(u)),
    q_t(y) / q_t(x_t) = a(t) w(y) + (1 - a(t)) pi(y) sum_u w(u),

the second for a change of one token (the ratios of lou2024).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import safe
from gen_jax.annotations import shaped
from gen_jax.checks import (
    as_array,
    check_callable,
    check_form,
    check_order,
    check_output,
    is_known,
    no_type_check,
)
from gen_jax.errors import ConfigError, check_range, shown
from gen_jax.randomness import sample_keys
from gen_jax.types import Array, Float, Int, Key, TokenDenoiser


class TokenPath(NamedTuple):
    """`keep(t)` falls from 1 at t = 0 to 0 at t = 1; `noise` [V] sums to 1."""

    keep: Callable[[Array], Array]
    noise: Float[Array, "V"]


def linear_keep(t: Array) -> Array:
    """a(t) = 1 - t."""
    return 1 - t


def cosine_keep(t: Array) -> Array:
    """a(t) = sin(pi / 2 (1 - t)): exactly 0 at t = 1, which cos(pi t / 2) is not."""
    return jnp.sin(jnp.pi / 2 * (1 - t))


def absorbing(size: int, keep: Callable[[Array], Array] = linear_keep) -> TokenPath:
    """Noise is a mask: token `size`, which the data do not have; V = size + 1.

    Raises ConfigError for a size below 1 and a `keep` that does not fall from 1 to 0.
    """
    check_range("size", size, 1, integer=True)
    with jax.ensure_compile_time_eval():  # known also where a model is made inside jit
        return TokenPath(_checked(keep), jnp.zeros(size + 1).at[size].set(1.0))


def uniform(size: int, keep: Callable[[Array], Array] = linear_keep) -> TokenPath:
    """Noise is any of the `size` tokens, with equal probability; V = size.

    Raises ConfigError for a size below 2 and a `keep` that does not fall from 1 to 0.
    """
    check_range("size", size, 2, integer=True)
    with jax.ensure_compile_time_eval():
        return TokenPath(_checked(keep), jnp.full(size, 1 / size))


TOKEN_PATHS: dict[str, Callable[..., TokenPath]] = {"absorbing": absorbing, "uniform": uniform}
"""Every kind of noise by name: `(size, keep) -> TokenPath`."""


def _checked(keep: Callable[[Array], Array]) -> Callable[[Array], Array]:
    check_callable("keep", keep)
    with jax.ensure_compile_time_eval():
        found = keep(jnp.linspace(0, 1, 101))
    if not is_known(found):
        return keep
    values = np.asarray(found)
    if not (values.shape == (101,) and np.all(np.diff(values) < 0)):
        raise ConfigError("keep must fall strictly over t in [0, 1]")
    if abs(values[0] - 1) > 1e-6 or values[-1] != 0:
        raise ConfigError(
            f"keep must be 1 at t = 0 and exactly 0 at t = 1, got {values[0]} and {values[-1]}"
        )
    return keep


def check_path(path: TokenPath, size: int) -> TokenPath:
    """The path. Raises ConfigError for what is none, for noise that is no law, and for one that
    data of the tokens 0 .. size - 1 cannot have: of another size, or whose mask they hold."""
    if not isinstance(path, TokenPath):
        raise ConfigError(f"path={shown(path)} must be a TokenPath such as absorbing({size})")
    _checked(path.keep)
    if not is_known(path.noise):
        return path
    noise = np.asarray(path.noise)
    if noise.ndim != 1 or not ((noise >= 0).all() and abs(noise.sum() - 1) < 1e-5):
        raise ConfigError(f"path.noise={shown(noise)} must be probabilities [V] whose sum is 1")
    if len(noise) - size not in (0, 1):
        raise ConfigError(f"path has {len(noise)} tokens, the data {size}")
    if noise[:size].max() == 1:
        raise ConfigError(
            f"path has a mask that is one of the data's {size} tokens: {noise.argmax()}"
        )
    return path


def is_absorbing(path: TokenPath) -> bool:
    """Whether all noise is one token. False for noise that is traced."""
    return is_known(path.noise) and int(np.count_nonzero(np.asarray(path.noise))) == 1


def mask_token(path: TokenPath) -> int:
    """The token that all noise is. Raises ConfigError for noise of several tokens."""
    if not is_absorbing(path):
        raise ConfigError("this sampler needs a path with one mask token (choose absorbing)")
    return int(np.argmax(np.asarray(path.noise)))


@no_type_check
def check_tokens(
    path: TokenPath, x0: Int[Array | np.ndarray, "B N"], name: str = "x0", noisy: bool = False
) -> Int[Array, "B N"]:
    """The tokens as an array of jax.

    Raises ConfigError for tokens outside 0 .. V - 1, and, unless they are `noisy`, for a mask;
    DataError for what are no numbers. Under jit the values are not known and are not checked.
    """
    with jax.ensure_compile_time_eval():
        x0 = as_array(name, x0)
        x0 = jnp.asarray(x0) if isinstance(x0, np.ndarray) else x0
    if x0.ndim != 2:
        raise ConfigError(f"{name} has shape {x0.shape}, must be [B, N]")
    if not (is_known(x0) and is_known(path.noise)):
        return x0
    values, size = np.asarray(x0), len(path.noise)
    data = np.flatnonzero(np.asarray(path.noise) < (2 if noisy else 1))
    if not np.issubdtype(values.dtype, np.integer):
        raise ConfigError(f"{name} must be integers, got {values.dtype}")
    if values.size and not np.isin(values, data).all():
        wrong = values[~np.isin(values, data)][0]
        raise ConfigError(
            f"{name} has the token {wrong}; allowed are 0 .. {size - 1} but for the mask"
            if size > len(data)
            else f"{name} has the token {wrong}; allowed are 0 .. {size - 1}"
        )
    return x0


def checked(denoise: TokenDenoiser, path: TokenPath) -> TokenDenoiser:
    """The denoiser, which raises ConfigError for an output that is not [B, N, V]."""
    size = len(path.noise)
    return lambda x_t, t: check_output("denoise", denoise(x_t, t), (*x_t.shape, size))


def check_law(path: TokenPath, log_x0: Array) -> None:
    """Raise ConfigError unless log p(x0 | x_t) is of the path's V tokens."""
    check_form("log_x0", log_x0.shape, "B N V", {"V": len(path.noise)})


def _per_token(a: Array) -> Array:
    """A coefficient [] or [B] for arrays [B, N, V]."""
    return jnp.asarray(a)[..., None, None]


@shaped("t")
def marginal(path: TokenPath, x0: Int[Array, "B N"], t: Float[Array, "B"]) -> Float[Array, "B N V"]:
    """q(x_t = v | x0), probabilities; t is [B] or [].

    Raises ConfigError for tokens out of range.
    """
    x0 = check_tokens(path, x0, noisy=True)
    a = _per_token(path.keep(t))
    return a * jax.nn.one_hot(x0, len(path.noise)) + (1 - a) * path.noise


@shaped("t")
def log_likelihood(
    path: TokenPath, x_t: Int[Array, "B N"], t: Float[Array, "B"]
) -> Float[Array, "B N V"]:
    """log q(x_t | x0 = v) for each token and each v; -1e30 for 0.

    Raises ConfigError for tokens out of range.
    """
    x_t = check_tokens(path, x_t, "x_t", noisy=True)
    a = _per_token(path.keep(t))
    q = a * jax.nn.one_hot(x_t, len(path.noise)) + (1 - a) * path.noise[x_t][..., None]
    return jnp.where(q > 0, jnp.log(jnp.where(q > 0, q, 1)), -1e30)


def _weights(path: TokenPath, log_x0: Array, x_t: Array, t: Array) -> Array:
    """w(v) = p(x0 = v | x_t) / q(x_t | x0 = v) [B, N, V]; 0 where x_t cannot come from v."""
    check_law(path, log_x0)
    a = _per_token(path.keep(t))
    same = jax.nn.one_hot(x_t, len(path.noise))
    likelihood = a * same + (1 - a) * path.noise[x_t][..., None]
    possible = likelihood > 0
    return jnp.where(possible, jnp.exp(log_x0) / jnp.where(possible, likelihood, 1), 0)


@shaped("t", "s")
def reverse(
    path: TokenPath,
    log_x0: Float[Array, "B N V"],
    x_t: Int[Array, "B N"],
    t: Float[Array, "B"],
    s: Float[Array, "B"],
) -> Float[Array, "B N V"]:
    """log p(x_s = v | x_t) for each token, s < t, from log p(x0 | x_t); t and s are [B] or [].

    Raises ConfigError for tokens out of range, s above t and another shape.
    """
    check_order(t, s)
    x_t = check_tokens(path, x_t, "x_t", noisy=True)
    a_t, a_s = _per_token(path.keep(t)), _per_token(path.keep(s))
    ratio = a_t / a_s
    w = _weights(path, log_x0, x_t, t)
    same = jax.nn.one_hot(x_t, len(path.noise))
    forward = ratio * same + (1 - ratio) * path.noise[x_t][..., None]
    return safe.log(forward * (a_s * w + (1 - a_s) * path.noise * w.sum(-1, keepdims=True)))


@shaped("t")
def ratios(
    path: TokenPath, log_x0: Float[Array, "B N V"], x_t: Int[Array, "B N"], t: Float[Array, "B"]
) -> Float[Array, "B N V"]:
    """q_t(y) / q_t(x_t) where y has token v at one place (lou2024, eq. 4); 1 at v = x_t.

    Where noise is a mask and x_t is none, p(x0 | x_t) says nothing of other values: 0 stands there.
    Raises ConfigError for tokens out of range.
    """
    x_t = check_tokens(path, x_t, "x_t", noisy=True)
    a, w = _per_token(path.keep(t)), _weights(path, log_x0, x_t, t)
    return a * w + (1 - a) * path.noise * w.sum(-1, keepdims=True)


@shaped("t")
def rates(
    path: TokenPath, log_x0: Float[Array, "B N V"], x_t: Int[Array, "B N"], t: Float[Array, "B"]
) -> Float[Array, "B N V"]:
    """Rate (-a' / a) pi(x_t) q_t(y) / q_t(x_t) of the change to v, back in time; 0 at v = x_t.

    Values that noise cannot be keep a finite rate up to a = 0; those that it can be have a pole
    there, and a is taken to be at least 1e-7, the rounding of log p(x0) of a float32 network.
    Raises ConfigError for tokens out of range.
    """
    x_t = check_tokens(path, x_t, "x_t", noisy=True)
    a, slope = jax.jvp(path.keep, (t,), (jnp.ones_like(t),))
    a, w = _per_token(a), _weights(path, log_x0, x_t, t)
    renewed = (1 - a) / jnp.maximum(a, 1e-7)
    to = w + renewed * path.noise * w.sum(-1, keepdims=True)
    other = 1 - jax.nn.one_hot(x_t, len(path.noise))
    return -_per_token(slope) * path.noise[x_t][..., None] * other * to


def prior(key: Key[Array, "*batch"], path: TokenPath, shape: tuple[int, int]) -> Int[Array, "B N"]:
    """Tokens of pure noise, [B, N]; one key, or one per sample."""
    draw = lambda key: jax.random.categorical(key, jnp.log(path.noise), shape=shape[1:])
    return jax.vmap(draw)(sample_keys(key, shape[0]))
