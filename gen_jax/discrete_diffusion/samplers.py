"""Samplers of tokens: a stepper owns one transition t -> s, `sample` owns the scan."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.calls import counted, network_call, uncounted
from gen_jax.checks import as_times, no_type_check
from gen_jax.discrete_diffusion.token_path import (
    TokenPath,
    check_tokens,
    checked,
    mask_token,
    rates,
    reverse,
)
from gen_jax.errors import ConfigError, check_finite, check_range, shown
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.types import Array, Float, Int, Key, State, TokenDenoiser


class TokenTransition(NamedTuple):
    """From time t to the cleaner time s; `index` counts from 0, `last` is true at the data."""

    t: Float[Array, "*n"]
    s: Float[Array, "*n"]
    index: Int[Array, "*n"]  # type: ignore[assignment]
    last: Array


class TokenStepper(NamedTuple):
    """`step(keys [B], denoise, path, x, carry, transition) -> (x, carry)`, one network call.

    `init(path, x, times) -> carry` also refuses what the stepper cannot do.
    """

    step: Callable
    init: Callable[[TokenPath, Array, Array], State] = lambda path, x, times: ()


def check_stepper(stepper: Any) -> TokenStepper:
    """The stepper. Raises ConfigError for anything else, such as its name."""
    if not isinstance(stepper, TokenStepper):
        raise ConfigError(f"stepper={shown(stepper)} must be a TokenStepper such as ancestral()")
    return stepper


class TokenSampleInfo(NamedTuple):
    """Batched network calls made (guidance calls two networks), and the tokens after each
    transition [n, B, N]."""

    calls: Int[Array, ""]
    trajectory: Int[Array, "n B N"]


def _draw(keys: Key[Array, "B"], logits: Float[Array, "B N V"]) -> Int[Array, "B N"]:
    return jax.vmap(jax.random.categorical)(keys, logits)


@no_type_check
def sample(
    key: Key[Array, "*batch"],
    denoise: TokenDenoiser,
    path: TokenPath,
    x: Int[Array, "B N"],
    times: Float[Array, " times"],
    stepper: TokenStepper,
    *,
    info: bool = False,
) -> Int[Array, "B N"] | tuple[Int[Array, "B N"], TokenSampleInfo]:
    """Carry tokens x from noise at times[0] to data at times[-1], in one `lax.scan`.

    Args:
      key: one key, or one per sample [B].
      denoise: `(x_t [B, N], t [B]) -> log p(x0 = v | x_t)` [B, N, V].
      x: tokens to start from; see `prior`.
      times: [n + 1], falling, from 1 to 0.
      info: also return `TokenSampleInfo`.
    Raises ConfigError for times that do not fall from at most 1 to at least 0, for tokens that the
    path has not, for a denoiser of another shape, and for what is no stepper.
    """
    check_stepper(stepper)
    times, x = as_times(times), check_tokens(path, x, "x", noisy=True)
    keys, index = sample_keys(key, x.shape[0]), jnp.arange(times.shape[0] - 1)
    denoise = checked(network_call(denoise) if info else denoise, path)
    transitions = TokenTransition(times[:-1], times[1:], index, times[1:] == 0)

    def body(carry, transition):
        x, inner, calls = carry
        step_keys = fold_in(keys, transition.index)
        step = lambda x, inner: stepper.step(step_keys, denoise, path, x, inner, transition)
        (moved, inner), more = (counted if info else uncounted)(step)(x, inner)
        x = moved.astype(x.dtype)
        return (x, inner, calls + more), x if info else None

    start = (x, stepper.init(path, x, times), jnp.int32(0))
    (x, _, calls), states = jax.lax.scan(body, start, transitions)
    return (x, TokenSampleInfo(calls, states)) if info else x


def _batch(x: Array, t: Array) -> Array:
    return jnp.full(x.shape[:1], t)


def ancestral() -> TokenStepper:
    """Draw every token of x_s from p(x_s | x_t) (austin2021): exact for independent tokens."""

    def step(keys, denoise, path, x, carry, transition):
        t, s = _batch(x, transition.t), _batch(x, transition.s)
        return _draw(keys, reverse(path, denoise(x, t), x, t, s)), carry

    return TokenStepper(step)


def euler(corrector: float = 0.0) -> TokenStepper:
    """Tau-leaping (campbell2022): token y is reached with probability (t - s) times its rate.

    The last transition is `ancestral`'s, which leaves no noise.

    Args:
      corrector: 0, or a share of forward and reverse rates added to both directions: it keeps the
        marginals and renews tokens that are wrong (campbell2024, gat2024).
    Raises ConfigError for a negative corrector.
    """
    check_finite("corrector", check_range("corrector", corrector, 0))

    def step(keys, denoise, path, x, carry, transition):
        t, s = _batch(x, transition.t), _batch(x, transition.s)
        log_x0 = denoise(x, t)
        a, slope = jax.jvp(path.keep, (t,), (jnp.ones_like(t),))
        # The forward rate has a pole at a = 0, which makes the step's probability 1.
        forward = (-slope / jnp.maximum(a, 1e-6))[:, None, None] * path.noise
        rate = (1 + corrector) * rates(path, log_x0, x, t) + corrector * forward
        same = jax.nn.one_hot(x, len(path.noise))
        leap = (t - s)[:, None, None] * rate * (1 - same)
        total = leap.sum(-1, keepdims=True)
        leap = leap / jnp.maximum(total, 1)
        moved = jnp.log(leap + same * jnp.maximum(1 - total, 0))
        final = reverse(path, log_x0, x, t, s)
        return _draw(keys, jnp.where(transition.last, final, moved)), carry

    return TokenStepper(step)


def by_confidence(temperature: float = 0.0) -> TokenStepper:
    """Unmask the tokens whose drawn values are likeliest (chang2022); absorbing noise only.

    Each step leaves round(N (1 - a(s))) masks. It draws no exact law, but a cleaner one in
    few steps.

    Args:
      temperature: of Gumbel noise on the confidence, multiplied by 1 - a(s): 0 is greedy.
    Raises ConfigError for a negative temperature, and a path without a mask token.
    """
    check_finite("temperature", check_range("temperature", temperature, 0))

    def init(path, x, times):
        mask_token(path)
        return ()

    def step(keys, denoise, path, x, carry, transition):
        mask = mask_token(path)
        log_x0 = denoise(x, _batch(x, transition.t)).at[..., mask].set(-jnp.inf)
        drawn = _draw(fold_in(keys, 0), log_x0)
        hidden = x == mask
        confidence = jnp.take_along_axis(log_x0, drawn[..., None], -1)[..., 0]
        left = 1 - path.keep(transition.s)
        gumbel = jax.vmap(lambda key: jax.random.gumbel(key, x.shape[1:]))(fold_in(keys, 1))
        confidence = jnp.where(hidden, confidence + temperature * left * gumbel, jnp.inf)
        remaining = jnp.round(x.shape[1] * left).astype(int)
        # Rank 0 is the least certain token: the first `remaining` stay masked.
        rank = jnp.argsort(jnp.argsort(confidence, axis=1), axis=1)
        shown = jnp.where(hidden, drawn, x)
        return jnp.where((rank < remaining) & hidden, mask, shown), carry

    return TokenStepper(step, init)


def first_hitting() -> TokenStepper:
    """Unmask one token per call, at its own time (zheng2024, algorithm 1): exact in N calls.

    With n masks left at time t, the next one falls at the s with 1 - a(s) = (1 - a(t)) u^(1 / n).
    Absorbing noise only, and at least as many steps as tokens; further ones change nothing. Of
    `times` only their number is used.
    Raises ConfigError for a path without a mask token and fewer steps than tokens.
    """

    def init(path, x, times):
        mask_token(path)
        if times.shape[0] - 1 < x.shape[1]:
            raise ConfigError(
                f"first_hitting needs a step for each of {x.shape[1]} tokens, got "
                f"{times.shape[0] - 1}"
            )
        return jnp.ones(x.shape[0], times.dtype)

    def step(keys, denoise, path, x, t, transition):
        mask = mask_token(path)
        hidden = x == mask
        count = hidden.sum(1)
        share = lambda key: jax.random.uniform(key, dtype=t.dtype, minval=1e-7)
        uniform = jax.vmap(share)(fold_in(keys, 0))
        noise = (1 - path.keep(t)) * uniform ** (1 / jnp.maximum(count, 1).astype(t.dtype))
        s = _time_of_keep(path, 1 - noise)
        log_x0 = denoise(x, s).at[..., mask].set(-jnp.inf)
        drawn = _draw(fold_in(keys, 1), log_x0)
        place = jax.vmap(jax.random.categorical)(fold_in(keys, 2), jnp.where(hidden, 0.0, -jnp.inf))
        chosen = (jnp.arange(x.shape[1]) == place[:, None]) & hidden
        return jnp.where(chosen, drawn, x), s

    return TokenStepper(step, init)


def _time_of_keep(path: TokenPath, value: Float[Array, "B"]) -> Float[Array, "B"]:
    """The t with a(t) = value, by bisection."""

    def halve(_, bracket):
        low, high = bracket
        middle = 0.5 * (low + high)
        earlier = path.keep(middle) > value
        return jnp.where(earlier, middle, low), jnp.where(earlier, high, middle)

    ends = jnp.zeros_like(value), jnp.ones_like(value)
    low, high = jax.lax.fori_loop(0, 40, halve, ends)
    return 0.5 * (low + high)


TOKEN_STEPPERS: dict[str, Callable[..., TokenStepper]] = {
    "ancestral": ancestral,
    "euler": euler,
    "by_confidence": by_confidence,
    "first_hitting": first_hitting,
}
"""Constructors of every sampler of tokens by name."""
