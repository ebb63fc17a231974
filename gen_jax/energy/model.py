"""What every energy model shares: init, the update, log p with log Z by annealing."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import check_output
from gen_jax.compiled import Check
from gen_jax.conditions import batch_labels
from gen_jax.data_units import check_data, log_det, to_data, to_model_floats
from gen_jax.energy.joint import marginal_energy
from gen_jax.energy.normalizer import anneal, log_base
from gen_jax.energy.options import (
    EnergyState,
    Method,
    Options,
    check_options,
    fresh,
)
from gen_jax.errors import ConfigError, shown
from gen_jax.mcmc import Annealed
from gen_jax.model import GenerativeModel, compiled
from gen_jax.optimization import moving_average, optimizer_step, start_average, start_moments
from gen_jax.randomness import fold_in, normal, sample_keys
from gen_jax.types import Array, Estimate, Float, Key, Metrics


def outputs(network, params: Any, stats: Any, x: Float[Array, "B ..."]) -> Float[Array, "B *K"]:
    """The network's own numbers, [B] or logits [B, K]."""
    return network.apply({"params": params["network"], **stats}, x)


def energy_network(network, params: Any, stats: Any, x: Float[Array, "B ..."]) -> Float[Array, "B"]:
    """F(x), of the network itself or of its logits (`marginal_energy`)."""
    out = outputs(network, params, stats, x)
    return out if out.ndim == 1 else marginal_energy(out)


def tilt_of(network, state: EnergyState) -> Callable[[Array], Array]:
    """F of the moving average: `x [B, *shape] -> [B]` with log p = log base - F - log Z."""
    return lambda x: energy_network(network, state.ema, state.stats, x)


def energy_of(network, params: Any, stats: Any, options: Options) -> Callable[[Array], Array]:
    """E(x) = F(x) - log base(x): the density is exp(-E) / Z."""
    return lambda x: energy_network(network, params, stats, x) - log_base(x, options.base_std)


def annealed(key: Key[Array, ""], network, state: EnergyState, options: Options) -> Annealed:
    """The chains of `options.annealing`, from the base to the model of the moving average."""
    chains = options.annealing.chains, tuple(options.shape), options.base_std, options.annealing
    return anneal(key, tilt_of(network, state), *chains)


def log_normalizer(key: Key[Array, ""], network, state: EnergyState, options: Options) -> Estimate:
    """log Z with its standard error, in nats; its mean is too small (see `normalizer`).

    The error misleads when `pareto_k` of `annealed` is above 0.7.
    """
    return annealed(key, network, state, options).log_normalizer


def _check_network(network, variables, options: Options, method: Method, batch) -> None:
    """Raise ConfigError unless the network gives energies [B], or logits [B, K] of K labels."""
    x = jax.ShapeDtypeStruct((len(batch["x"]), *options.shape), jnp.float32)
    out = jax.eval_shape(network.apply, variables, x)
    if not method.logits:
        check_output("network", out, (len(batch["x"]),), "one energy per example, ")
        return
    classes = out.shape[1] if len(getattr(out, "shape", ())) == 2 else 0
    if classes < 2:
        raise ConfigError(f"network returned {shown(out)}, allowed: logits [B, K], K of 2 or more")
    check_output("network", out, (len(batch["x"]), classes))
    batch_labels(batch, classes)


def init_state(
    key: Key[Array, ""], network, optimizer, options: Options, method: Method, batch
) -> EnergyState:
    """Fresh state; raises ConfigError when the batch does not fit the options."""
    _, key_network, key_buffer, key_anneal = jax.random.split(key, 4)
    check_data(options, batch["x"])
    if 0 < method.buffer_size < len(batch["x"]):
        raise ConfigError(
            f"buffer_size={method.buffer_size} is below the batch size {len(batch['x'])}"
        )
    variables = network.init(key_network, jnp.zeros((1, *options.shape)))
    _check_network(network, variables, options, method, batch)
    params = {"network": variables["params"], **(method.extra or {})}
    stats = {name: value for name, value in variables.items() if name != "params"}
    buffer = fresh(key_buffer, options, method.buffer_size) if method.buffer_size else None
    ema = start_average(params)
    return EnergyState(
        params, ema, stats, start_moments(optimizer, params), buffer, key_anneal, jnp.int32(0)
    )


def refreshed(network, params: Any, stats: Any, x: Float[Array, "B ..."]) -> Any:
    """The power iterations moved on by one: once per update, in no other call."""
    if not stats:
        return stats
    variables = {"params": params["network"], **stats}
    return network.apply(variables, x, train=True, mutable=list(stats))[1]


def training_data(key: Key[Array, ""], options: Options, batch) -> Float[Array, "B ..."]:
    """Encoded examples with the noise of `data_noise`."""
    keys = sample_keys(key, len(batch["x"]))
    u = to_model_floats(options, fold_in(keys, 0), batch["x"])
    if not options.data_noise:
        return u
    return u + options.data_noise * normal(fold_in(keys, 1), u.shape[1:], u.dtype)


def update(
    key: Key[Array, ""], state: EnergyState, batch, network, optimizer, options, method: Method
) -> tuple[EnergyState, Metrics]:
    """Negatives if the method has them, then one step of the optimizer and of the average."""
    key_data, key_negatives, key_loss = jax.random.split(key, 3)
    x = training_data(key_data, options, batch)
    stats = refreshed(network, state.params, state.stats, x)
    negatives, buffer, learnt = None, state.buffer, {}
    if method.negatives is not None:
        negatives, buffer, learnt = method.negatives(
            key_negatives, state.params, stats, state.buffer, x
        )

    loss = lambda params: method.objective(params, stats, key_loss, x, batch, negatives)
    params, moments, metrics = optimizer_step(loss, optimizer, state.params, state.optimizer)
    ema = moving_average(state.ema, params, state.step, options.ema_decay)
    after = EnergyState(params, ema, stats, moments, buffer, state.key, state.step + 1)
    return after, metrics | learnt


def assemble(
    network,
    optimizer: optax.GradientTransformation,
    options: Options,
    method: Method,
    sample: Callable | None = None,
    log_constant: Callable[[EnergyState], Array] | None = None,
    per_sample: Mapping[str, Check] | None = None,
) -> GenerativeModel:
    """A `GenerativeModel` of a method.

    Args:
      sample: as in `GenerativeModel`; annealed from the base if not given.
      log_constant: log Z of a state, where it is learned; by annealing if not given.
      per_sample: conditions of `sample`, see `compiled`.
    """
    check_options(options)
    shape = tuple(options.shape)

    def annealed_samples(key, state, n):
        ends = anneal(key, tilt_of(network, state), n, shape, options.base_std, options.annealing)
        return to_data(options, ends.x)

    def log_prob(key, state, x):
        u = to_model_floats(options, key, x)
        if log_constant is None:
            log_z = log_normalizer(state.key, network, state, options).value
        else:
            log_z = log_constant(state)
        own = log_base(u, options.base_std) - tilt_of(network, state)(u) - log_z
        return own + log_det(options, u)

    model = GenerativeModel(
        lambda key, batch: init_state(key, network, optimizer, options, method, batch),
        lambda key, state, batch: update(key, state, batch, network, optimizer, options, method),
        annealed_samples if sample is None else sample,
        log_prob,
        "estimate",
    )
    return compiled(model, per_sample=per_sample, encode=partial(to_model_floats, options))
