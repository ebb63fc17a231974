"""A generator and a critic that learn from each other, as a `GenerativeModel` (goodfellow2014)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from gen_jax.checks import no_type_check
from gen_jax.conditions import batch_labels, checked_labels
from gen_jax.data_units import check_data, to_data, to_model_floats
from gen_jax.errors import ConfigError, check_finite
from gen_jax.gan.networks import apply_critic, draw_latent, generate, takes
from gen_jax.gan.options import GanState, Options, Parts, make_parts
from gen_jax.gan.remedies import split_batch
from gen_jax.gan.updates import rebalanced, update_critic, update_generator
from gen_jax.gan_nets.critic_output import CriticOutput
from gen_jax.model import GenerativeModel, compiled
from gen_jax.optimization import start_average, start_moments
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.types import Array, Batch, Float, Int, Key, Metrics, Shaped

SETTLE = 10
"""Power iterations before the first step: after one, a norm may be too small by half."""


def _labelled(parts: Parts, batch: Batch, key: Key[Array, ""]) -> dict[str, Array]:
    """Encoded examples, with labels only where the model has classes."""
    encoded = {"x": to_model_floats(parts.options, key, batch["x"])}
    if not parts.classes:
        return encoded
    return encoded | {"y": batch_labels(batch, parts.classes)}


def _split(variables: Any) -> tuple[Any, Any]:
    """Parameters, and the other collections."""
    return variables["params"], {k: v for k, v in variables.items() if k != "params"}


def _first_call(module: nn.Module, key: Key[Array, ""], inputs: tuple) -> tuple[Any, Any]:
    """Parameters and collections of a module, from two examples."""
    offered = {"keys": jax.random.split(key, 2), "step": jnp.zeros((), jnp.int32)}
    extra: dict[str, Any] = {name: value for name, value in offered.items() if takes(module, name)}
    return _split(module.init(key, *inputs, train=False, **extra))


def _settled(parts: Parts, params: Any, stats: Any, key: Key[Array, ""], x: Array, label) -> Any:
    """The power iterations of the critic's spectral norms run ahead; other collections stay."""
    if "spectral" not in stats:
        return stats

    def move(_, stats):
        moved = apply_critic(parts, params, stats, key, x, label, jnp.int32(0), train=True)[1]
        return {**stats, "spectral": moved["spectral"]}

    return jax.lax.fori_loop(0, SETTLE, move, stats)


def _check_critic_output(found: CriticOutput, options: Options) -> None:
    """Raise ConfigError for a critic that does not say what the options need."""
    shape = lambda value: None if value is None else value.shape[1:]
    wanted: dict[str, tuple[int, ...]] = {"score": ()}
    if options.conditional == "ac":
        wanted["logits"] = (options.num_classes,)
    if options.conditional == "info":
        wanted["code"] = (sum(options.code),)
    for name, size in wanted.items():
        if shape(getattr(found, name)) != size:
            raise ConfigError(
                f"the critic's {name} has shape {shape(getattr(found, name))} per example, "
                f"conditional={options.conditional!r} needs {size}"
            )


def init_state(parts: Parts, key: Key[Array, ""], batch: Batch) -> GanState:
    """Fresh state, from a batch of any size; raises ConfigError when parts do not fit together."""
    options = parts.options
    _, key_generator, key_critic = jax.random.split(key, 3)
    batch_labels(batch, parts.classes)
    x = check_data(options, batch["x"], floats=True)
    label = jnp.zeros(2, jnp.int32) if parts.classes else None
    latent = draw_latent(jax.random.split(key_generator, 2), options)
    generator, generator_stats = _first_call(parts.generator, key_generator, (latent, label))
    example = jnp.zeros((2, *options.shape), x.dtype)
    inputs = example, label if parts.judged_label else None
    critic, critic_stats = _first_call(parts.critic, key_critic, inputs)
    if parts.penalty is not None and "batch_stats" in critic_stats:
        raise ConfigError(
            f"penalty={options.penalty!r} needs the slope at each example, but the critic "
            "normalises over the batch; use a critic without batch normalisation"
        )
    judged = partial(apply_critic, parts, critic, critic_stats, None, example, label, jnp.int32(0))
    _check_critic_output(jax.eval_shape(judged)[0], options)
    return GanState(
        generator,
        critic,
        generator_stats,
        _settled(parts, critic, critic_stats, key_critic, example, label),
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
    shares = split_batch(_labelled(parts, batch, key_encode), parts.options.n_critic)
    # Not a scan: in one, XLA's gradient of a convolution is ten times slower on a CPU.
    found = []
    for i, share in enumerate(shares):
        state, metrics = update_critic(parts, state, jax.random.fold_in(key_critic, i), share)
        found.append(metrics)
    state, generator_metrics = update_generator(parts, state, key_generator, shares[-1])
    critic_metrics = jax.tree.map(lambda *values: sum(values) / len(values), *found)
    state, metrics = rebalanced(parts, state, critic_metrics | generator_metrics)
    return state._replace(step=state.step + 1), metrics


def truncated(z: Float[Array, "B L"], truncation: float | Float[Array, ""]) -> Float[Array, "B L"]:
    """N(0, I) mapped to the normal law within +-truncation, each entry rising (brock2019).

    The entry's quantile is kept instead of drawing again, so that one key gives one path of images
    from varied to typical.
    """
    reach = 2 * jax.scipy.stats.norm.cdf(truncation) - 1
    u = 0.5 + reach * (jax.scipy.stats.norm.cdf(z) - 0.5)
    return jax.scipy.special.ndtri(u)


def checked_code(size: int, code: Any, n: int) -> Float[Array, "n C"]:
    """Codes of n samples from one or n of them. Raises ConfigError for another shape."""
    if jnp.shape(code) not in ((size,), (n, size)):
        raise ConfigError(f"code must have shape [{size}] or [{n}, {size}], got {jnp.shape(code)}")
    return jnp.broadcast_to(jnp.asarray(code, jnp.float32), (n, size))


def latents(
    parts: Parts,
    keys: Key[Array, "n"],
    code: Array | None,
    truncation: float | Float[Array, ""] | None,
) -> Float[Array, "n L"]:
    """z with a given code, or drawn; its normal part within +-truncation."""
    z, size = draw_latent(keys, parts.options), parts.options.latent
    noise, drawn = z[:, :size], z[:, size:]
    if truncation is not None:
        noise = truncated(noise, truncation)
    return jnp.concatenate([noise, drawn if code is None else code], 1)


def from_latent(
    parts: Parts,
    state: GanState,
    keys: Key[Array, "n"],
    z: Float[Array, "n L"],
    label: Int[Array, "n"] | None = None,
    **offered: Any,
) -> Shaped[Array, "n ..."]:
    """Examples of the moving average at given latents, in data units."""
    params, stats = _split(state.ema)
    x, _ = generate(parts, params, stats, keys, z, label, state.step, **offered)
    return to_data(parts.options, x)


def sample(
    parts: Parts,
    key: Key[Array, "*batch"],
    state: GanState,
    n: int,
    *,
    label: Any = None,
    truncation: float | Float[Array, ""] | None = None,
    code: Float[Array, "*n C"] | None = None,
) -> Shaped[Array, "n ..."]:
    """n examples of the moving average in data units; classes and codes are drawn if not given.

    Args:
      truncation: passed to the generator if it takes one, else the largest |z| (`truncated`).
      code: [C] or [n, C] for "info", a one-hot category and then numbers in [-1, 1].
    """
    check_finite("truncation", truncation)
    keys = sample_keys(key, n)
    label = checked_labels(label, n, parts.classes)
    code = None if code is None else checked_code(sum(parts.options.code), code, n)
    if label is None and parts.classes:
        draw = lambda key: jax.random.randint(key, (), 0, parts.classes)
        label = jax.vmap(draw)(fold_in(keys, 5))
    if truncation is not None and takes(parts.generator, "truncation"):
        z = latents(parts, keys, code, None)
        return from_latent(parts, state, keys, z, label, truncation=truncation)
    return from_latent(parts, state, keys, latents(parts, keys, code, truncation), label)


def judgement_of(
    parts: Parts, state: GanState, x: Float[Array, "B ..."], label: Int[Array, "B"] | None = None
) -> CriticOutput:
    """What the trained critic says of examples in the networks' units."""
    return apply_critic(parts, state.critic, state.critic_stats, None, x, label, state.step)[0]


def _sampler(parts: Parts) -> Callable:
    """`sample` with the conditions that this model has."""
    draw = partial(sample, parts)
    if parts.classes:
        return lambda key, state, n, *, label=None, truncation=None: draw(
            key, state, n, label=label, truncation=truncation
        )
    if parts.options.conditional == "info":
        return lambda key, state, n, *, code=None, truncation=None: draw(
            key, state, n, code=code, truncation=truncation
        )
    return lambda key, state, n, *, truncation=None: draw(key, state, n, truncation=truncation)


def model_from_parts(parts: Parts) -> GenerativeModel:
    """The model of parts that `make_parts` has checked."""
    model = GenerativeModel(
        partial(init_state, parts),
        partial(step, parts),
        _sampler(parts),
        parameters=lambda state: (state.generator, state.critic),
    )
    label = partial(checked_labels, num_classes=parts.classes)
    code = partial(checked_code, sum(parts.options.code))
    return compiled(model, per_sample={"label": label, "code": code}, shared=("truncation",))


@no_type_check
def gan(
    generator: nn.Module,
    critic: nn.Module,
    generator_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    **options: Any,
) -> GenerativeModel:
    """A GAN of any loss, penalty and remedy.

    Args:
      generator, critic: Flax modules with the face that `nets.judgement` describes.
      generator_optimizer, critic_optimizer: two learning rates are the two time scales of
        heusel2017.
      options: fields of `Options`; `shape` and `latent` are needed.
    `sample` takes truncation, and label or code where there are any. There is no log_prob: the
    density is implicit.
    Raises ConfigError for options that cannot work, and warns of a "wgan" whose critic nothing
    keeps Lipschitz.
    """
    settings = Options(**options)
    return model_from_parts(
        make_parts(generator, critic, generator_optimizer, critic_optimizer, settings)
    )
