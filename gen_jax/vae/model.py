"""The VAE family as a `GenerativeModel`: each option is swapped by one argument."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.scipy.special import logsumexp

from gen_jax.checks import no_type_check
from gen_jax.conditions import batch_labels, checked_labels
from gen_jax.data_units import log_det
from gen_jax.errors import ConfigError, check_choice
from gen_jax.model import GenerativeModel, compiled
from gen_jax.nets import Feedforward
from gen_jax.optimization import optimizer_step, start_moments
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.types import Array, Float, Int, Key, State
from gen_jax.vae.coder import (
    Network,
    Options,
    Parts,
    coder,
    encode_data,
    init_params,
    make_parts,
    network_inputs,
    refuse_unread,
)
from gen_jax.vae.elbo import warm_up
from gen_jax.vae.evaluate import estimate_log_prob
from gen_jax.vae.units import draw_data
from gen_jax.vae.variants import VARIANTS, LossInputs, Variant, codes

MEMORY = 0.99
"""Weight of the past in the running moments of an autoencoder's codes."""


class VAEState(NamedTuple):
    """Parameters of the coder and of the critic, both optimizers' states, moments, the step.

    `moments` are the mean [D] and the mean outer product [D, D] of codes, bias-corrected by `step`;
    () where samples come from the prior.
    """

    params: dict[str, State]
    critic: State
    optimizer: Any
    critic_optimizer: Any
    moments: Any
    step: Int[Array, ""]


class Critic(nn.Module):
    """Logits and the last hidden layer, of vectors."""

    hidden: tuple[int, ...] = (64, 64)

    @nn.compact
    def __call__(self, x: Float[Array, "N E"]) -> tuple[Float[Array, "N"], Float[Array, "N F"]]:
        for width in self.hidden:
            x = nn.leaky_relu(nn.Dense(width)(x), 0.2)
        return nn.Dense(1)(x)[:, 0], x


def no_moments(dim: int) -> tuple[Array, Array]:
    """Moments of codes before the first batch."""
    return jnp.zeros(dim), jnp.zeros((dim, dim))


def next_moments(z: Float[Array, "B D"], moments: Any) -> Any:
    """Running mean and mean outer product of codes after one more batch."""
    new = (z.mean(0), z.T @ z / len(z))
    return jax.tree.map(lambda a, b: MEMORY * a + (1 - MEMORY) * b, moments, new)


def code_sampler(state: VAEState, jitter: float = 1e-6) -> Callable[[Array], Array]:
    """`keys [n] -> z [n, D]` from the Gaussian of the codes seen last (ghosh2020)."""
    seen = jnp.maximum(1 - MEMORY ** state.step.astype(jnp.float32), 1e-6)
    mean, square = (moment / seen for moment in state.moments)
    covariance = square - jnp.outer(mean, mean)
    scale = jnp.trace(covariance) / len(mean)
    covariance = covariance + jitter * (1 + scale) * jnp.eye(len(mean))
    values, vectors = jnp.linalg.eigh(covariance)
    factor = vectors * jnp.sqrt(jnp.maximum(values, 0))
    return jax.vmap(lambda key: mean + factor @ jax.random.normal(key, mean.shape))


def _case(parts: Parts, params, batch, key, step, critic=None) -> LossInputs:
    u = encode_data(parts, key, batch["x"])
    options = parts.options
    label = batch_labels(batch, options.num_classes)
    beta = options.beta * warm_up(step, options.warm_up)
    functions, inputs = coder(parts, params, label), network_inputs(parts, u, label)
    return LossInputs(functions, u, inputs, options, beta, critic)


def _check_variant(name: str, options: Options) -> Variant:
    """Raise ConfigError for combinations that mean nothing."""
    variant = VARIANTS[check_choice("variant", name, VARIANTS)]
    if variant.deterministic and options.posterior != "diagonal":
        raise ConfigError(f"variant={name!r} has a deterministic encoder: posterior='diagonal'")
    readers = {other: each.reads for other, each in VARIANTS.items()}
    refuse_unread(options, f"variant={name!r}", variant.reads, readers)
    return variant


def _critic_step(objective: Variant, optimizer, key, case, state: VAEState):
    """One update of the critic against the coder as it now is."""
    assert objective.critic_loss is not None
    loss = lambda critic: (objective.critic_loss(key, case(state.params, critic)), {})  # type: ignore
    critic, memory, metrics = optimizer_step(loss, optimizer, state.critic, state.critic_optimizer)
    return state._replace(critic=critic, critic_optimizer=memory), metrics["loss"]


def _bound(
    parts: Parts, params: dict[str, Any], keys: Key[Array, "B"], u: Array, label: Any, num: int
) -> Float[Array, "B"]:
    """The importance weighted bound of p(u), or of p(u | label)."""
    functions = coder(parts, params, label)
    return estimate_log_prob(
        keys,
        functions.encode,
        functions.decode,
        u,
        likelihood=functions.likelihood,
        prior=functions.prior,
        num_samples=num,
        encoder_input=network_inputs(parts, u, label),
    ).value


def draw_samples(
    parts: Parts,
    params: dict[str, Any],
    keys: Key[Array, "n"],
    label: Any = None,
    mean: bool = False,
    source: Any = None,
) -> Array:
    """Samples in data units, with z from `source` or the prior; labels drawn evenly if missing."""
    classes = parts.options.num_classes
    if classes and label is None:
        pick = lambda key: jax.random.randint(key, (), 0, classes)
        label = jax.vmap(pick)(fold_in(keys, 2))
    functions = coder(parts, params, label)
    raw = functions.decode((source or functions.prior.sample)(fold_in(keys, 0)))
    return draw_data(parts.options, parts.likelihood, fold_in(keys, 1), raw, mean)


def _over_labels(parts: Parts, params, keys, u: Array, num: int) -> Float[Array, "B"]:
    """The bound of p(u) = mean over labels of p(u | label)."""
    classes = parts.options.num_classes
    of_one = lambda y: _bound(parts, params, keys, u, jnp.full(len(u), y), num)
    return logsumexp(jax.lax.map(of_one, jnp.arange(classes)), 0) - jnp.log(classes)


@no_type_check
def vae(
    encoder: Network,
    decoder: Network,
    optimizer: optax.GradientTransformation,
    *,
    variant: str = "vae",
    critic_optimizer: optax.GradientTransformation | None = None,
    **options,
) -> GenerativeModel:
    """A variational autoencoder, or a relative of it, as a `GenerativeModel`.

    Args:
      encoder, decoder: number of outputs -> Flax module from vectors to vectors.
      variant: a name in VARIANTS.
      critic_optimizer: of the variants with a critic; Adam at 1e-4 if not given.
      options: the fields of `Options`. num_samples draws of z; `beta`, reached after `warm_up`
        steps; `free_bits` nats per dimension; `weight` of the variant's own term
        (of "vae_gan" the features, for encoder and decoder: see `variants`).
    `sample` takes `label` [n] (drawn evenly if not given) when num_classes > 0, and `mean=True` for
    E[x | z]. `log_prob` is the importance weighted bound of `num_samples` draws, below log p(x) in
    the mean, of p(x | label) when labels are given; None for deterministic encoders.
    Raises ConfigError for unknown names, values out of range, and options that are not at their
    defaults but that the variant does not read (`Variant.reads`).
    """
    parts = make_parts(encoder, decoder, Options(**options))
    objective = _check_variant(variant, parts.options)
    if critic_optimizer is not None and objective.critic_loss is None:
        raise ConfigError(f"critic_optimizer was given, but variant={variant!r} has no critic")
    critic_optimizer = critic_optimizer or optax.adam(1e-4, b1=0.5)
    critic = Critic()
    by_codes = objective.deterministic and not variant.startswith("wae")

    def init(key, batch):
        key_coder, key_critic = jax.random.split(key)
        key_encode, key_params = jax.random.split(key_coder)
        u = encode_data(parts, key_encode, batch["x"])
        params = init_params(parts, key_params, u, batch_labels(batch, parts.options.num_classes))
        judge: Any = ()
        if objective.critic_loss is not None:
            size = parts.options.latent if objective.critic_sees == "latent" else u[0].size
            judge = critic.init(key_critic, jnp.zeros((1, size)))
        return VAEState(
            params,
            judge,
            start_moments(optimizer, params),
            start_moments(critic_optimizer, judge, "critic_optimizer") if judge else (),
            no_moments(parts.options.latent) if by_codes else (),
            jnp.int32(0),
        )

    def step(key, state, batch):
        key_encode, key_loss, key_critic = jax.random.split(key, 3)
        judge = lambda weights: lambda x: critic.apply(weights, x)
        case = lambda params, weights: _case(
            parts, params, batch, key_encode, state.step, judge(weights)
        )

        loss = lambda params: objective.loss(key_loss, case(params, state.critic))
        params, memory, metrics = optimizer_step(loss, optimizer, state.params, state.optimizer)
        state = state._replace(params=params, optimizer=memory)
        if objective.critic_loss is not None:
            state, judged = _critic_step(objective, critic_optimizer, key_critic, case, state)
            metrics["critic_loss"] = judged
        if by_codes:
            z = codes(case(params, state.critic))
            state = state._replace(moments=next_moments(z, state.moments))
        return state._replace(step=state.step + 1), metrics

    def conditional(key, state, n, label=None, mean=False):
        label = checked_labels(label, n, parts.options.num_classes)
        source = code_sampler(state) if by_codes else None
        return draw_samples(parts, state.params, sample_keys(key, n), label, mean, source)

    def sample(key, state, n, mean=False):
        return conditional(key, state, n, None, mean)

    def log_prob(key, state, x, label=None, num_samples=parts.options.evaluation_samples):
        keys = sample_keys(key, len(x))
        label = checked_labels(label, len(x), parts.options.num_classes)
        u, own = encode_data(parts, fold_in(keys, 0), x), fold_in(keys, 1)
        if parts.options.num_classes and label is None:
            bound = _over_labels(parts, state.params, own, u, num_samples)
        else:
            bound = _bound(parts, state.params, own, u, label, num_samples)
        return bound + log_det(parts.options, u)

    model = GenerativeModel(
        init,
        step,
        conditional if parts.options.num_classes else sample,
        None if objective.deterministic else log_prob,
        "none" if objective.deterministic else "lower bound",
        parameters=lambda state: (state.params, state.critic),
    )
    label = partial(checked_labels, num_classes=parts.options.num_classes)
    return compiled(model, per_sample={"label": label}, encode=partial(encode_data, parts))


def mlp(hidden: tuple[int, ...] = (400,)) -> Network:
    """`Feedforward` networks with these hidden layers, for encoder or decoder."""
    if not hidden:
        raise ConfigError("hidden=() must name at least one width; `linear` has none")
    return lambda size: Feedforward(size, tuple(hidden))


def linear() -> Network:
    """One linear map, as in probabilistic PCA."""
    return lambda size: nn.Dense(size)
