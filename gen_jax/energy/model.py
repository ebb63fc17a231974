"""What every energy model shares: init, the update, log p with log Z by annealing."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gen_jax.axes import rows_of
from gen_jax.checks import check_output
from gen_jax.condition_values import value_of
from gen_jax.conditions import num_classes
from gen_jax.data_units import check_scaled, log_det, to_data, to_model_floats
from gen_jax.energy.joint import joint_energy, marginal_energy
from gen_jax.energy.normalizer import anneal, log_base
from gen_jax.energy.options import EnergyState, Options, Parts, fresh
from gen_jax.errors import ConfigError, shown
from gen_jax.mcmc import Annealed
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.optimization import moving_average, optimizer_step, start_average, start_moments
from gen_jax.randomness import fold_in, normal, sample_keys
from gen_jax.types import Array, Float, Int, Key, Metrics


def outputs(
    parts: Parts, params: Any, stats: Any, x: Float[Array, "B ..."]
) -> Float[Array, "B *K"]:
    """The network's own numbers, [B] or logits [B, K]."""
    return parts.network.apply({"params": params["network"], **stats}, x)


def energy_network(
    parts: Parts,
    params: Any,
    stats: Any,
    x: Float[Array, "B ..."],
    label: Int[Array, "B"] | None = None,
) -> Float[Array, "B"]:
    """F(x), of the network itself or of its logits; with labels F(x, y) of its logits."""
    out = outputs(parts, params, stats, x)
    if out.ndim == 1:
        return out
    return marginal_energy(out) if label is None else joint_energy(out, label)


def energy_of(
    parts: Parts, params: Any, stats: Any, label: Int[Array, "B"] | None = None
) -> Callable[[Array], Array]:
    """E(x) = F(x) - log base(x): the density is exp(-E) / Z, in the model's units."""
    base_std = parts.options.base_std
    return lambda x: energy_network(parts, params, stats, x, label) - log_base(x, base_std)


def annealed_chains(
    parts: Parts, key: Key[Array, "*batch"], state: EnergyState, n: int, label: Any = None
) -> Annealed:
    """n chains from the base to the model of the moving average, or to that of one label."""
    options = parts.options

    def tilt(x):
        own = None if label is None else jnp.full(len(x), label)
        return energy_network(parts, state.ema, state.stats, x, own)

    return anneal(key, tilt, n, tuple(options.shape), options.base_std, options.annealing)


def log_constant(parts: Parts, state: EnergyState, label: Any = None) -> Float[Array, "*B"]:
    """log Z, learned or by annealing; with labels [B] the log Z of p(x | y) of each."""
    if parts.method.log_constant is not None:
        return parts.method.log_constant(state)
    chains = parts.options.annealing.chains
    of = lambda y: annealed_chains(parts, state.key, state, chains, y).log_normalizer.value
    if label is None:
        return of(None)
    return rows_of(jax.lax.map(of, jnp.arange(num_classes(parts.condition))), label)


def _check_network(parts: Parts, variables: Any, batch: Any) -> None:
    """Raise ConfigError unless the network gives energies [B], or logits [B, K] of K labels."""
    n = len(batch["x"])
    x = jax.ShapeDtypeStruct((n, *parts.options.shape), jnp.float32)
    out = jax.eval_shape(parts.network.apply, variables, x)
    if parts.condition is None:
        check_output("network", out, (n,), "one energy per example, ")
        return
    classes = num_classes(parts.condition)
    if getattr(out, "shape", ()) != (n, classes):
        raise ConfigError(
            f"network returned {shown(out)}, allowed: logits [B, {classes}], one for each label"
        )
    check_output("network", out, (n, classes))
    parts.condition.of_batch(batch)


def init_state(parts: Parts, key: Key[Array, ""], batch: Any) -> EnergyState:
    """Fresh state; raises ConfigError when the batch does not fit the options."""
    options, method = parts.options, parts.method
    _, key_network, key_buffer, key_anneal = jax.random.split(key, 4)
    check_scaled(options, batch["x"], options.base_std, "base_std", narrow=True)
    if 0 < method.buffer_size < len(batch["x"]):
        raise ConfigError(
            f"buffer_size={method.buffer_size} is below the batch size {len(batch['x'])}"
        )
    variables = parts.network.init(key_network, jnp.zeros((1, *options.shape)))
    _check_network(parts, variables, batch)
    params = {"network": variables["params"], **(method.extra or {})}
    stats = {name: value for name, value in variables.items() if name != "params"}
    buffer = fresh(key_buffer, options, method.buffer_size) if method.buffer_size else None
    ema, moments = start_average(params), start_moments(parts.optimizer, params)
    return EnergyState(params, ema, stats, moments, buffer, key_anneal, jnp.int32(0))


def refreshed(parts: Parts, params: Any, stats: Any, x: Float[Array, "B ..."]) -> Any:
    """The power iterations moved on by one: once per update, in no other call."""
    if not stats:
        return stats
    variables = {"params": params["network"], **stats}
    return parts.network.apply(variables, x, train=True, mutable=list(stats))[1]


def training_data(options: Options, key: Key[Array, ""], batch: Any) -> Float[Array, "B ..."]:
    """Encoded examples with the noise of `data_noise`."""
    keys = sample_keys(key, len(batch["x"]))
    u = to_model_floats(options, fold_in(keys, 0), batch["x"])
    if not options.data_noise:
        return u
    return u + options.data_noise * normal(fold_in(keys, 1), u.shape[1:], u.dtype)


def step(
    parts: Parts, key: Key[Array, ""], state: EnergyState, batch: Any
) -> tuple[EnergyState, Metrics]:
    """Negatives if the method has them, then one step of the optimizer and of the average."""
    method = parts.method
    key_data, key_negatives, key_loss = jax.random.split(key, 3)
    x = training_data(parts.options, key_data, batch)
    stats = refreshed(parts, state.params, state.stats, x)
    negatives, buffer, learnt = None, state.buffer, {}
    if method.negatives is not None:
        negatives, buffer, learnt = method.negatives(
            parts, key_negatives, state.params, stats, state.buffer, x
        )

    loss = lambda params: method.objective(parts, params, stats, key_loss, x, batch, negatives)
    params, moments, metrics = optimizer_step(loss, parts.optimizer, state.params, state.optimizer)
    ema = moving_average(state.ema, params, state.step, parts.options.ema_decay)
    after = EnergyState(params, ema, stats, moments, buffer, state.key, state.step + 1)
    return after, metrics | learnt


def annealed_samples(parts: Parts, key: Key[Array, "*batch"], state: EnergyState, n: int) -> Array:
    """Samples [n, ...] in data units, annealed from the base."""
    return to_data(parts.options, annealed_chains(parts, key, state, n).x)


def log_prob(
    parts: Parts, key: Any, state: EnergyState, x: Any, **conditions: Any
) -> Float[Array, "B"]:
    """log p(x), or log p(x | label), [B] in nats and data units."""
    u, label = to_model_floats(parts.options, key, x), value_of(parts.condition, conditions, len(x))
    log_z = log_constant(parts, state, label)
    tilt = energy_network(parts, state.ema, state.stats, u, label)
    own = log_base(u, parts.options.base_std) - tilt - log_z
    return own + log_det(parts.options, u)


def model_from_parts(parts: Parts) -> GenerativeModel:
    """The model of parts that `make_parts` has checked."""
    model = assemble(
        parts, init_state, step, parts.method.sample or annealed_samples, log_prob, "estimate"
    )
    encode = partial(to_model_floats, parts.options)
    return compiled(model, condition=parts.condition, encode=encode)
