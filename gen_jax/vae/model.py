"""The VAE family as a `GenerativeModel`: each option is swapped by one argument."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from gen_jax.checks import no_type_check
from gen_jax.condition_values import log_prob_over, value_of
from gen_jax.data_units import log_det
from gen_jax.errors import ConfigError, check_choice
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.nets import Feedforward
from gen_jax.optimization import optimizer_step, start_moments
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.ranges import options_from
from gen_jax.types import Array, Batch, Float, Int, Key, Metrics, State
from gen_jax.vae.elbo import warm_up
from gen_jax.vae.evaluate import estimate_log_prob
from gen_jax.vae.options import (
    Network,
    Options,
    Parts,
    init_params,
    make_functions,
    network_inputs,
    networks_and_laws,
    refuse_unread,
)
from gen_jax.vae.units import draw_data, to_values
from gen_jax.vae.variants import VARIANTS, LossInputs, Variant, codes

MEMORY = 0.99
"""Weight of the past in the running moments of an autoencoder's codes."""


class VAEState(NamedTuple):
    """Parameters of the coder and of the critic, both optimizers' states, moments, the step.

    `moments` are `CodeMoments`; () where samples come from the prior.
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


CRITIC = Critic()


class CodeMoments(NamedTuple):
    """Running mean [D] and covariance [D, D] of codes."""

    mean: Float[Array, "D"]
    covariance: Float[Array, "D D"]


def no_moments(dim: int) -> CodeMoments:
    """Moments of codes before the first batch."""
    return CodeMoments(jnp.zeros(dim), jnp.zeros((dim, dim)))


def next_moments(z: Float[Array, "B D"], moments: CodeMoments, step: Int[Array, ""]) -> CodeMoments:
    """Moments after one more batch, that of number `step`, weighted by MEMORY^age.

    Around the means: a difference of raw moments would lose a spread that is small beside them.
    """
    before = (1 - MEMORY ** step.astype(jnp.float32)) / (1 - MEMORY)
    share = 1 / (1 + MEMORY * before)  # 1 exactly of the first batch: what was then counts nothing
    mean = z.mean(0)
    shift, centred = mean - moments.mean, z - mean
    own = jnp.matmul(centred.T, centred, precision="highest") / len(z)
    between = (1 - share) * jnp.outer(shift, shift)
    covariance = (1 - share) * moments.covariance + share * (own + between)
    return CodeMoments(moments.mean + share * shift, covariance)


def code_sampler(state: VAEState) -> Callable[[Array], Array]:
    """`keys [n] -> z [n, D]` from the Gaussian of the codes seen last (ghosh2020)."""
    mean, covariance = state.moments
    values, vectors = jnp.linalg.eigh(covariance)
    factor = vectors * jnp.sqrt(jnp.maximum(values, 0))
    return jax.vmap(lambda key: mean + factor @ jax.random.normal(key, mean.shape))


def labels_of(parts: Parts, batch: Batch) -> Int[Array, "B"] | None:
    """The labels of a batch; None for a model without a condition."""
    condition = parts.options.condition
    return None if condition is None else condition.of_batch(batch)


def loss_inputs(
    parts: Parts, params: Any, batch: Batch, key: Key[Array, ""], step: Any, critic: Any = None
) -> LossInputs:
    """What the losses of a batch are computed from."""
    u = to_values(parts, key, batch["x"])
    options, label = parts.options, labels_of(parts, batch)
    beta = options.beta * warm_up(step, options.warm_up)
    functions, inputs = make_functions(parts, params, label), network_inputs(parts, u, label)
    return LossInputs(functions, u, inputs, options, beta, critic)


def _checked_variant(name: str, options: Options) -> Variant:
    """The variant; raises ConfigError for combinations that mean nothing."""
    variant = VARIANTS[check_choice("variant", name, VARIANTS)]
    if variant.deterministic and options.posterior != "diagonal":
        raise ConfigError(f"variant={name!r} has a deterministic encoder: posterior='diagonal'")
    readers = {other: each.reads for other, each in VARIANTS.items()}
    refuse_unread(options, f"variant={name!r}", variant.reads, readers)
    return variant


@no_type_check
def make_parts(
    encoder: Network,
    decoder: Network,
    optimizer: optax.GradientTransformation,
    options: Options,
    variant: str = "vae",
    critic_optimizer: optax.GradientTransformation | None = None,
) -> Parts:
    """The parts of a VAE. Raises ConfigError for what does not fit together."""
    parts = networks_and_laws(encoder, decoder, optimizer, options)
    objective = _checked_variant(variant, options)
    if critic_optimizer is not None and objective.critic_loss is None:
        raise ConfigError(f"critic_optimizer was given, but variant={variant!r} has no critic")
    if objective.critic_loss is not None:
        critic_optimizer = critic_optimizer or optax.adam(1e-4, b1=0.5)
    return parts._replace(objective=objective, critic_optimizer=critic_optimizer)


def init_state(parts: Parts, key: Key[Array, ""], batch: Batch) -> VAEState:
    """Fresh state; raises ConfigError when the batch does not fit the options."""
    options, objective = parts.options, parts.objective
    key_coder, key_critic = jax.random.split(key)
    key_encode, key_params = jax.random.split(key_coder)
    u = to_values(parts, key_encode, batch["x"])
    params = init_params(parts, key_params, u, labels_of(parts, batch))
    critic: Any = ()
    if objective.critic_loss is not None:
        size = options.latent if objective.critic_sees == "latent" else u[0].size
        critic = CRITIC.init(key_critic, jnp.zeros((1, size)))
    return VAEState(
        params,
        critic,
        start_moments(parts.optimizer, params),
        start_moments(parts.critic_optimizer, critic, "critic_optimizer") if critic else (),
        no_moments(options.latent) if objective.samples_codes else (),
        jnp.int32(0),
    )


def _critic_step(parts: Parts, key, case, state: VAEState) -> tuple[VAEState, Array]:
    """One update of the critic against the coder as it now is."""

    def loss(critic):
        return parts.objective.critic_loss(key, case(state.params, critic)), {}

    assert parts.critic_optimizer is not None
    critic, memory, metrics = optimizer_step(
        loss, parts.critic_optimizer, state.critic, state.critic_optimizer
    )
    return state._replace(critic=critic, critic_optimizer=memory), metrics["loss"]


def step(
    parts: Parts, key: Key[Array, ""], state: VAEState, batch: Batch
) -> tuple[VAEState, Metrics]:
    """One update of encoder, decoder and prior, then one of the critic if there is one."""
    objective = parts.objective
    key_encode, key_loss, key_critic = jax.random.split(key, 3)
    critic = lambda weights: lambda x: CRITIC.apply(weights, x)
    case = lambda params, weights: loss_inputs(
        parts, params, batch, key_encode, state.step, critic(weights)
    )

    loss = lambda params: objective.loss(key_loss, case(params, state.critic))
    params, memory, metrics = optimizer_step(loss, parts.optimizer, state.params, state.optimizer)
    state = state._replace(params=params, optimizer=memory)
    if objective.critic_loss is not None:
        state, judged = _critic_step(parts, key_critic, case, state)
        metrics["critic_loss"] = judged
    if objective.samples_codes:
        z = codes(case(params, state.critic))
        state = state._replace(moments=next_moments(z, state.moments, state.step))
    return state._replace(step=state.step + 1), metrics


def draw_from(
    parts: Parts,
    params: dict[str, Any],
    keys: Key[Array, "n"],
    label: Any = None,
    mean: bool = False,
    source: Any = None,
) -> Array:
    """Samples in data units, with z from `source` or the prior; labels drawn evenly if missing."""
    if parts.options.condition is not None and label is None:
        label = parts.options.condition.draw(fold_in(keys, 2))
    functions = make_functions(parts, params, label)
    draw = source or functions.prior_of(parts.options.latent).sample
    raw = functions.decode(draw(fold_in(keys, 0)))
    return draw_data(parts.options, parts.likelihood, fold_in(keys, 1), raw, mean)


def draw_samples(
    parts: Parts,
    key: Key[Array, "*batch"],
    state: VAEState,
    n: int,
    *,
    mean: bool = False,
    **conditions: Any,
) -> Array:
    """Samples [n, ...] in data units; with `mean` E[x | z] instead of draws of x."""
    label = value_of(parts.options.condition, conditions, n)
    source = code_sampler(state) if parts.objective.samples_codes else None
    return draw_from(parts, state.params, sample_keys(key, n), label, mean, source)


def _bound(
    parts: Parts, params: dict[str, Any], keys: Key[Array, "B"], u: Array, label: Any, num: int
) -> Float[Array, "B"]:
    """The importance weighted bound of p(u), or of p(u | label)."""
    functions = make_functions(parts, params, label)
    return estimate_log_prob(keys, functions, u, num_samples=num).value


def log_prob(
    parts: Parts,
    key: Key[Array, "*batch"],
    state: VAEState,
    x: Any,
    *,
    num_samples: int,
    **conditions: Any,
) -> Float[Array, "B"]:
    """The importance weighted bound of log p(x), or of log p(x | label), [B] in nats.

    Args:
      num_samples: draws of z for each example.
    """
    keys = sample_keys(key, len(x))
    label = value_of(parts.options.condition, conditions, len(x))
    u, own = to_values(parts, fold_in(keys, 0), x), fold_in(keys, 1)
    of_label = lambda label: _bound(parts, state.params, own, u, label, num_samples)
    bound = log_prob_over(parts.options.condition, 0.0, label, len(u), of_label)
    return bound + log_det(parts.options, u)


def model_from_parts(parts: Parts) -> GenerativeModel:
    """The model of parts that `make_parts` has checked."""
    options, has_bound = parts.options, not parts.objective.deterministic
    density = partial(log_prob, num_samples=options.evaluation_samples)
    model = assemble(
        parts,
        init_state,
        step,
        draw_samples,
        density if has_bound else None,
        "lower bound" if has_bound else "none",
        parameters=lambda state: (state.params, state.critic),
    )
    return compiled(model, condition=options.condition, encode=partial(to_values, parts))


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
      encoder, decoder: number of outputs -> network from vectors to vectors: a Flax module,
        `nets.from_functions` or `nets.from_nnx`.
      variant: a name in VARIANTS.
      critic_optimizer: of the variants with a critic; Adam at 1e-4 if not given.
      options: the fields of `Options`. num_samples draws of z; `beta`, reached after `warm_up`
        steps; `free_bits` nats per dimension; `weight` of the variant's own term
        (of "vae_gan" the features, for encoder and decoder: see `variants`).
    With a condition `sample` takes `label` [n], drawn evenly if not given, and `mean=True` for
    E[x | z]. `log_prob` is the importance weighted bound of `num_samples` draws, below log p(x) in
    the mean, of p(x | label) when labels are given; None for deterministic encoders. `encode`,
    `decode` and `functions` hand out the trained networks.
    Raises ConfigError for unknown names, values out of range, and options that are not at their
    defaults but that the variant does not read (`Variant.reads`).

    >>> import optax
    >>> from gen_jax import nets, vae
    >>> network = lambda features: nets.Feedforward(features, hidden=(64,))
    >>> model = vae.vae(network, network, optax.adam(1e-3), shape=(2,), latent=2)
    >>> model.log_prob_kind
    'lower bound'
    """
    parts = make_parts(
        encoder, decoder, optimizer, options_from(Options, options), variant, critic_optimizer
    )
    return model_from_parts(parts)


def mlp(hidden: tuple[int, ...] = (400,)) -> Network:
    """`Feedforward` networks with these hidden layers, for encoder or decoder."""
    if not hidden:
        raise ConfigError("hidden=() must name at least one width; `linear` has none")
    return lambda size: Feedforward(size, tuple(hidden))


def linear() -> Network:
    """One linear map, as in probabilistic PCA."""
    return lambda size: nn.Dense(size)
