"""A generator and a critic that learn from each other, as a `GenerativeModel` (goodfellow2014)."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import no_type_check, not_negative
from gen_jax.conditions import num_classes
from gen_jax.data_units import check_data, check_real, to_model_floats
from gen_jax.errors import ConfigError, GenJaxError, shown
from gen_jax.gan.generate import checked_code, draw_samples
from gen_jax.gan.networks import apply_critic, draw_latent, generate
from gen_jax.gan.options import GanState, Options, Parts, make_parts
from gen_jax.gan.remedies import split_batch
from gen_jax.gan.updates import rebalanced, update_critic, update_generator
from gen_jax.gan_nets.critic_output import CriticOutput, wanted
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.optimization import start_average, start_moments
from gen_jax.ranges import options_from
from gen_jax.types import Array, Batch, Key, Metrics

SETTLE = 10
"""Power iterations before the first step: after one, a norm may be too small by half."""


def _encoded(parts: Parts, batch: Batch, key: Key[Array, ""]) -> dict[str, Any]:
    """Encoded examples "x", and the "condition" where the model has one."""
    encoded: dict[str, Any] = {"x": to_model_floats(parts.options, key, batch["x"])}
    if parts.options.condition is not None:
        encoded["condition"] = parts.options.condition.of_batch(batch)
    return encoded


def _split(variables: Any) -> tuple[Any, Any]:
    """Parameters, and the other collections."""
    return variables["params"], {k: v for k, v in variables.items() if k != "params"}


def _first_call(name: str, network: Any, key: Key[Array, ""], inputs: tuple) -> tuple[Any, Any]:
    """Parameters and collections of a network, from two examples.

    Raises ConfigError for one that is called in another way.
    """
    offered = {"keys": jax.random.split(key, 2), "step": jnp.zeros((), jnp.int32)}
    try:
        return _split(network.init(key, *inputs, train=False, **wanted(network, offered)))
    except (TypeError, ValueError, IndexError) as error:
        if isinstance(error, GenJaxError):
            raise ConfigError(f"the {name}: {error}") from error
        if isinstance(error, TypeError) and "argument" in str(error):
            raise ConfigError(
                f"the {name} must be called as (x, condition, *, train), and name what it takes "
                f"beside it in `takes` ({error})"
            ) from error
        raise ConfigError(
            f"the {name} fails on {shown(inputs[0])} ({' '.join(str(error).split())[:200]}): a "
            "generator takes z [B, latent], a critic x [B, *shape]"
        ) from error


def _settled(parts: Parts, params: Any, stats: Any, key: Key[Array, ""], x: Array, value) -> Any:
    """The power iterations of the critic's spectral norms run ahead; other collections stay."""
    if "spectral" not in stats:
        return stats

    def move(_, stats):
        moved = apply_critic(parts, params, stats, key, x, value, jnp.int32(0), train=True)[1]
        return {**stats, "spectral": moved["spectral"]}

    return jax.lax.fori_loop(0, SETTLE, move, stats)


def _check_critic_output(found: CriticOutput, options: Options) -> None:
    """Raise ConfigError for a critic that does not say what the options need."""
    shape = lambda value: None if value is None else value.shape[1:]
    if options.feature_matching and found.features is None:
        raise ConfigError(
            f"feature_matching={options.feature_matching} needs a critic that returns features"
        )
    needed: dict[str, tuple[int, ...]] = {"score": ()}
    if options.conditional == "ac":
        needed["logits"] = (num_classes(options.condition),)
    if options.conditional == "info":
        needed["code"] = (sum(options.code),)
    for name, size in needed.items():
        if shape(getattr(found, name)) != size:
            raise ConfigError(
                f"the critic's {name} has shape {shape(getattr(found, name))} per example, "
                f"conditional={options.conditional!r} needs {size}"
            )


def init_state(parts: Parts, key: Key[Array, ""], batch: Batch) -> GanState:
    """Fresh state, from a batch of any size; raises ConfigError when parts do not fit together."""
    options = parts.options
    _, key_generator, key_critic = jax.random.split(key, 3)
    if options.condition is not None:
        options.condition.of_batch(batch)
    check_real(options, batch["x"])
    x = check_data(options, batch["x"], floats=True)
    value = None if options.condition is None else options.condition.null(2)
    latent = draw_latent(jax.random.split(key_generator, 2), options)
    inputs, no_step = (latent, value), jnp.int32(0)
    generator, generator_stats = _first_call("generator", parts.generator, key_generator, inputs)
    keys = jax.random.split(key_generator, 2)
    jax.eval_shape(partial(generate, parts, generator, generator_stats, keys, *inputs, no_step))
    example = jnp.zeros((2, *options.shape), x.dtype)
    inputs = example, value if parts.critic_sees else None
    critic, critic_stats = _first_call("critic", parts.critic, key_critic, inputs)
    if parts.penalty is not None and "batch_stats" in critic_stats:
        raise ConfigError(
            f"penalty={options.penalty!r} needs the slope at each example, but the critic "
            "normalises over the batch; use a critic without batch normalisation"
        )
    judged = partial(apply_critic, parts, critic, critic_stats, None, example, value, no_step)
    _check_critic_output(jax.eval_shape(judged)[0], options)
    return GanState(
        generator,
        critic,
        generator_stats,
        _settled(parts, critic, critic_stats, key_critic, example, value),
        start_average({"params": generator, **generator_stats}),
        start_moments(parts.generator_optimizer, generator, "generator_optimizer"),
        start_moments(parts.critic_optimizer, critic, "critic_optimizer"),
        jnp.zeros(()),
        jnp.zeros((), jnp.int32),
    )


def step(
    parts: Parts, key: Key[Array, ""], state: GanState, batch: Batch
) -> tuple[GanState, Metrics]:
    """n_critic updates of the critic, each on its share of the batch, then one of the generator.

    The generator's update makes as many examples as a share has; where its loss needs real ones
    they are the last share's. Metrics of the critic are means over its updates. Raises ConfigError
    for a batch that cannot be shared out.
    """
    key_encode, key_critic, key_generator = jax.random.split(key, 3)
    shares = split_batch(_encoded(parts, batch, key_encode), parts.options.n_critic)
    # Not a scan: in one, XLA's gradient of a convolution is ten times slower on a CPU.
    found = []
    for i, share in enumerate(shares):
        state, metrics = update_critic(parts, state, jax.random.fold_in(key_critic, i), share)
        found.append(metrics)
    state, generator_metrics = update_generator(parts, state, key_generator, shares[-1])
    critic_metrics = jax.tree.map(lambda *values: sum(values) / len(values), *found)
    state, metrics = rebalanced(parts, state, critic_metrics | generator_metrics)
    return state._replace(step=state.step + 1), metrics


def model_from_parts(parts: Parts) -> GenerativeModel:
    """The model of parts that `make_parts` has checked."""
    model = assemble(parts, init_state, step, draw_samples)
    return compiled(
        model,
        condition=parts.options.condition,
        per_sample={"code": partial(checked_code, sum(parts.options.code))},
        shared={"truncation": partial(not_negative, "truncation")},
        without=() if parts.options.conditional == "info" else ("code",),
    )


@no_type_check
def gan(
    generator: Any,
    critic: Any,
    generator_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    **options: Any,
) -> GenerativeModel:
    """A GAN of any loss, penalty and remedy.

    Args:
      generator, critic: networks with the face that `gan_nets.critic_output` describes.
      generator_optimizer, critic_optimizer: two learning rates are the two time scales of
        heusel2017.
      options: fields of `Options`; `shape` and `latent` are needed.
    `sample` takes the arguments of `draw_samples`, and the names of the condition. There is no
    log_prob: the density is implicit.
    Raises ConfigError for options that cannot work, and warns of a "wgan" whose critic nothing
    keeps Lipschitz.

    >>> import optax
    >>> from gen_jax import gan
    >>> from gen_jax.gan_nets import MLPCritic, MLPGenerator
    >>> adam = optax.adam(1e-4)
    >>> generator, critic = MLPGenerator((2,), (64, 64)), MLPCritic((64, 64))
    >>> model = gan.gan(generator, critic, adam, adam, shape=(2,), latent=2, loss="hinge")
    >>> model.log_prob is None
    True
    """
    settings = options_from(Options, options)
    return model_from_parts(
        make_parts(generator, critic, generator_optimizer, critic_optimizer, settings)
    )
