"""Diffusion of tokens as a `GenerativeModel` of integers: text, grey levels, codes.

The denoiser is log p(x0_i = v | x_t); on the absorbing path a token that is no mask is known, and
the mask has no probability (sahoo2024). The loss is the continuous bound on -log p(x0).
"""

from collections.abc import Mapping
from functools import partial
from math import prod
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.calls import calls_inside, network_call
from gen_jax.checks import check_output, is_known, no_type_check, one_or_each
from gen_jax.condition_values import is_guided, null_or_drawn, value_of
from gen_jax.conditions import Condition, check_null, checked_condition, configured, drop
from gen_jax.data_units import check_data, to_data, to_model
from gen_jax.discrete_diffusion.bounds import corrupt, rate_term
from gen_jax.discrete_diffusion.samplers import (
    TOKEN_STEPPERS,
    TokenStepper,
    check_stepper,
    sample,
)
from gen_jax.discrete_diffusion.token_path import (
    TOKEN_PATHS,
    TokenPath,
    check_path,
    log_likelihood,
    prior,
)
from gen_jax.errors import (
    DataError,
    check_choice,
    check_range,
    check_shape,
)
from gen_jax.frozen import parts_of
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.optimization import AveragedState, init_state_with_ema, optimizer_step_with_ema
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.ranges import Count, Range, Share, check_ranges, options_from
from gen_jax.types import Array, Batch, Float, Int, Key, Metrics, Num, State, TokenDenoiser

T_MIN = 1e-4
"""Times of training and of the bound lie in [T_MIN, 1 - T_MIN]: rates have poles at the ends."""


NEVER = -1e30
"""Logarithm of a probability of 0, of which differences are finite."""


class Options(NamedTuple):
    """Options of `discrete_diffusion`.

    Fields:
      shape: of one example after the transform; its tokens are read row by row.
      size: number of values of a token in the data, 0 .. size - 1.
      path: a name in TOKEN_PATHS, or a `TokenPath`.
      condition, condition_dropout, ema_decay, transform: as of `diffusion.Options`.
      stepper, num_steps: defaults of `sample`.
    """

    shape: tuple[int, ...]
    size: Annotated[int, Range(2)]
    path: str | TokenPath = "absorbing"
    condition: Condition | None = None
    condition_dropout: Share = 0.1
    ema_decay: Share = 0.999
    transform: Any = None
    stepper: str | TokenStepper = "ancestral"
    num_steps: Count = 64


class Parts(NamedTuple):
    """What samples and bounds are made of; `options.path` is a `TokenPath`."""

    network: Any
    optimizer: optax.GradientTransformation
    options: Options

    @property
    def path(self) -> TokenPath:
        """The noise."""
        path: Any = self.options.path
        return path


@no_type_check
def make_parts(network: Any, optimizer: Any, options: Options) -> Parts:
    """The parts of a model. Raises ConfigError for what does not fit together.

    The stepper is one that can draw `shape` on this path in `num_steps`.
    """
    check_shape("shape", options.shape)
    check_ranges(options)
    checked_condition(options.condition)
    path: Any = options.path
    if isinstance(path, str):
        path = TOKEN_PATHS[check_choice("path", path, TOKEN_PATHS)](options.size)
    check_path(path, options.size)
    stepper, tokens = _stepper(options.stepper), jnp.zeros((1, prod(options.shape)), jnp.int32)
    # What a stepper refuses is refused here, not after a training.
    jax.eval_shape(partial(stepper.init, path), tokens, jnp.zeros(options.num_steps + 1))
    network = configured("network", network, options.condition)
    return Parts(network, optimizer, options._replace(path=path))


def _stepper(stepper: Any) -> TokenStepper:
    if isinstance(stepper, str):
        return TOKEN_STEPPERS[check_choice("stepper", stepper, TOKEN_STEPPERS)]()
    return check_stepper(stepper)


def _check_values(size: int, u: Array) -> None:
    """Raise DataError for known tokens outside 0 .. size - 1."""
    if not is_known(u) or u.size == 0:
        return
    values = np.asarray(u)
    low, high = values.min(), values.max()
    if low < 0 or high >= size or np.any(values != np.round(values)):
        raise DataError(
            f"tokens of {u.dtype} in [{low}, {high}], must be whole numbers in [0, {size - 1}]"
        )


def tokens_of(parts: Parts, key: Key[Array, "*batch"], x: Any) -> Int[Array, "B N"]:
    """Data units to tokens. Raises ConfigError or DataError for data that do not fit."""
    u = to_model(parts.options, key, x)
    _check_values(parts.options.size, u)
    return u.reshape(u.shape[0], -1).astype(jnp.int32)


def network_denoiser(parts: Parts, params: Any, value: Any, apply: Any = None) -> TokenDenoiser:
    """`denoise(x_t [B, N], t [B]) -> log p(x0 = v | x_t)` of a network with these parameters.

    By Bayes' rule p(x0 = v | x_t) is proportional to q(x_t | x0 = v) exp(logit v): the network
    learns what the other tokens say of a token, and a token that noise cannot have made is kept.
    """
    apply, sizes = apply or parts.network.apply, len(parts.path.noise)
    data = jnp.arange(sizes) < parts.options.size

    def denoise(x_t: Int[Array, "B N"], t: Float[Array, "B"]) -> Float[Array, "B N V"]:
        logits = check_output("network", apply(params, x_t, t, value), (*x_t.shape, sizes))
        logits = jnp.where(data, logits, NEVER)
        return jax.nn.log_softmax(jnp.maximum(logits + log_likelihood(parts.path, x_t, t), NEVER))

    return denoise


def denoiser(model: GenerativeModel, state: State, **conditions: Any) -> TokenDenoiser:
    """The denoiser of the moving average; see `network_denoiser`."""
    parts, own = parts_of(model, state, Parts)

    def denoise(x_t, t):
        value = _value(parts, conditions, sample_keys(jax.random.key(0), len(x_t)))
        return network_denoiser(parts, own.ema, value)(x_t, t)

    return denoise


def _value(parts: Parts, given: Mapping[str, Any], keys: Key[Array, "n"]) -> Any:
    options = parts.options
    value = value_of(options.condition, given, len(keys))
    return null_or_drawn(options.condition, options.condition_dropout, value, keys)


def init_state(parts: Parts, key: Key[Array, ""], batch: Batch) -> AveragedState:
    """Fresh state; raises ConfigError or DataError when the batch does not fit the options."""
    options, condition = parts.options, parts.options.condition
    if condition is not None:
        condition.of_batch(batch)
    check_data(options, batch["x"], partial(_check_values, options.size))
    tokens = jnp.zeros((1, prod(options.shape)), jnp.int32)
    null = None if condition is None else condition.null(1)
    check_null(parts.network, condition, batch, tokens, jnp.zeros(1))
    params = parts.network.init(key, tokens, jnp.zeros(1), null)
    return init_state_with_ema(params, parts.optimizer)


def stratified_times(key: Key[Array, ""], n: int) -> Float[Array, "n"]:
    """Evenly spaced times with one random offset, inside (T_MIN, 1 - T_MIN), in random order."""
    key_offset, key_order = jax.random.split(key)
    grid = (jnp.arange(n) + jax.random.uniform(key_offset)) / n
    return T_MIN + (1 - 2 * T_MIN) * jax.random.permutation(key_order, grid)


def training_loss(
    parts: Parts, params: Any, key: Key[Array, ""], batch: Batch
) -> tuple[Float[Array, "B"], Metrics]:
    """The integrand of the continuous bound at one time per example, in nats."""
    options = parts.options
    key_encode, key_time, key_noise, key_drop, key_dropout = jax.random.split(key, 5)
    x0 = tokens_of(parts, key_encode, batch["x"])
    n = len(x0)
    value = None
    if options.condition is not None:
        value = options.condition.of_batch(batch)
        value = drop(key_drop, options.condition, value, options.condition_dropout, n)
    apply = parts.network.apply
    if getattr(parts.network, "dropout", 0):
        apply = partial(apply, deterministic=False, rngs={"dropout": key_dropout})
    t = stratified_times(key_time, n)
    x_t = corrupt(key_noise, parts.path, x0, t)
    log_x0 = network_denoiser(parts, params, value, apply)(x_t, t)
    nats = rate_term(parts.path, log_x0, x0, x_t, t)
    return nats, {"bits_per_dim": nats / (x0.shape[1] * np.log(2))}


def step(
    parts: Parts, key: Key[Array, ""], state: AveragedState, batch: Batch
) -> tuple[AveragedState, Metrics]:
    """One update on the loss, and one of the moving average."""
    loss = lambda params: training_loss(parts, params, key, batch)
    return optimizer_step_with_ema(loss, parts.optimizer, parts.options.ema_decay, state)


def draw_samples(
    parts: Parts,
    key: Key[Array, "*batch"],
    state: AveragedState,
    n: int,
    *,
    guidance: float | Array = 1.0,
    stepper: str | TokenStepper | None = None,
    num_steps: int | None = None,
    **conditions: Any,
) -> Num[Array, "n ..."]:
    """Samples [n, ...] in data units.

    Args:
      guidance: w of log p proportional to w log p(x0 | condition) + (1 - w) log p(x0)
        (classifier-free guidance on the logits), one for all or one for each sample.
      stepper, num_steps: a name in TOKEN_STEPPERS or a `TokenStepper`, and its steps on the uniform
        grid; by default the options'.
    Raises ConfigError for guidance without a condition.
    """
    options = parts.options
    chosen = _stepper(options.stepper if stepper is None else stepper)
    steps = check_range(
        "num_steps", options.num_steps if num_steps is None else num_steps, 1, integer=True
    )
    keys = sample_keys(key, n)
    value = _value(parts, conditions, fold_in(keys, 2))
    denoise = network_denoiser(parts, state.ema, value)
    given = value_of(options.condition, conditions, n)
    if is_guided(guidance, options.condition, options.condition_dropout, given):
        assert options.condition is not None
        plain = network_denoiser(parts, state.ema, options.condition.null(n))
        denoise = extrapolate(denoise, plain, guidance)
    length = prod(options.shape)
    start = prior(fold_in(keys, 0), parts.path, (n, length))
    times = jnp.linspace(1.0, 0.0, steps + 1)
    drawn: Any = sample(fold_in(keys, 1), denoise, parts.path, start, times, chosen)
    return to_data(options, drawn)


def extrapolate(
    denoise: TokenDenoiser, plain: TokenDenoiser, weight: float | Array
) -> TokenDenoiser:
    """w log p + (1 - w) log p_plain, normalised: classifier-free guidance on the logits."""
    denoise, plain = network_call(denoise), network_call(plain)

    def guided(x_t: Int[Array, "B N"], t: Float[Array, "B"]) -> Float[Array, "B N V"]:
        given = jnp.asarray(one_or_each("weight", weight, len(x_t)), float)
        w = jnp.broadcast_to(given, t.shape)[:, None, None]
        a, b = (jnp.maximum(f(x_t, t), -1e9) for f in (denoise, plain))
        return jax.nn.log_softmax(w * a + (1 - w) * check_output("plain", b, a.shape))

    return calls_inside(guided)


def log_prob(
    parts: Parts,
    key: Key[Array, "*batch"],
    state: AveragedState,
    x: Any,
    *,
    num_times: int = 64,
    **conditions: Any,
) -> Float[Array, "B"]:
    """Lower bound on log p(x | condition) in nats: the continuous bound at `num_times` times."""
    check_range("num_times", num_times, 1, integer=True)
    keys = sample_keys(key, len(x))
    x0 = tokens_of(parts, fold_in(keys, 0), jnp.asarray(x))
    denoise = network_denoiser(parts, state.ema, _value(parts, conditions, fold_in(keys, 3)))
    offset = jax.vmap(jax.random.uniform)(fold_in(keys, 1))

    def term(i: Array) -> Float[Array, "B"]:
        t = T_MIN + (1 - 2 * T_MIN) * (i + offset) / num_times
        x_t = corrupt(fold_in(fold_in(keys, 2), i), parts.path, x0, t)
        return rate_term(parts.path, denoise(x_t, t), x0, x_t, t)

    return -jax.lax.map(term, jnp.arange(num_times)).mean(0)


def model_from_parts(parts: Parts) -> GenerativeModel:
    """The model of parts that `make_parts` has checked."""
    model = assemble(parts, init_state, step, draw_samples, log_prob, "lower bound")
    return compiled(
        model,
        condition=parts.options.condition,
        per_sample={"guidance": partial(one_or_each, "guidance")},
        encode=partial(tokens_of, parts),
    )


@no_type_check
def discrete_diffusion(
    network, optimizer: optax.GradientTransformation, **options
) -> GenerativeModel:
    """Diffusion of tokens (austin2021, sahoo2024); `options` are the fields of `Options`.

    Args:
      network: `(tokens [B, N], noise [B], condition or None) -> logits [B, N, V]`, such as
        `nets.TokenTransformer` or, for images, `nets.TokenDiT`; V counts the mask of the absorbing
        path, `size` + 1.
    It is a model of integers, so that it serves text, grey levels, and as the prior of codes.
    Raises ConfigError for unknown names and values out of range.
    """
    return model_from_parts(make_parts(network, optimizer, options_from(Options, options)))
