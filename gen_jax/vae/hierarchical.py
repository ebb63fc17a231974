"""Hierarchical VAE: a ladder of latents with residual posteriors (sonderby2016; vahdat2020).

    p(z) = p(z_L) prod p(z_l | z_>l),   q(z | x) likewise, from the top z_L down.

The network is `vae.ladder`'s, of vectors or of maps.
"""

import math
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import no_type_check
from gen_jax.condition_values import log_prob_over, null_or_drawn, value_of
from gen_jax.conditions import Condition, checked_condition, num_classes
from gen_jax.data_units import log_det
from gen_jax.errors import check_range, check_shape
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.optimization import PlainState, optimizer_step, start_moments
from gen_jax.randomness import fold_in, normal, sample_keys
from gen_jax.ranges import Count, Natural, Range, Weight, check_ranges, options_from
from gen_jax.types import Array, Batch, Float, Int, Key, Metrics
from gen_jax.vae.elbo import warm_up, with_free_bits
from gen_jax.vae.evaluate import streaming_log_mean
from gen_jax.vae.ladder import ImageLadder, Ladder, Pass, level_shapes
from gen_jax.vae.likelihoods import Likelihood, check_unshared, make_likelihood
from gen_jax.vae.units import draw_data, to_values

EVALUATION_CHUNK = 8


class LadderOptions(NamedTuple):
    """How a hierarchical VAE is made.

    Fields:
      shape: of one example after the transform.
      latents: dimensions of the levels from the top down; of maps, their channels.
      width: features of the network's layers.
      halvings: of the image's sides to those of each level's map, such as (3, 3, 2, 2); none, and
        the levels are vectors.
      free_bits: nats per dimension of each level that cost nothing more.
      condition: None, or `conditions.labels(K)`: both ways see the label.
    """

    shape: tuple[int, ...]
    latents: Annotated[tuple[int, ...], Range(1)] = (4, 8, 16, 16, 32)
    width: Count = 256
    halvings: Annotated[tuple[int, ...], Range(0, entries=0)] = ()
    likelihood: str | Likelihood = "bernoulli"
    transform: Any = None
    beta: Weight = 1.0
    warm_up: Natural = 0
    free_bits: Weight = 0.0
    evaluation_samples: Count = 64
    condition: Condition | None = None


class LadderParts(NamedTuple):
    """The network and the law that options come to."""

    network: Ladder
    likelihood: Likelihood
    optimizer: optax.GradientTransformation
    options: LadderOptions


@no_type_check
def make_ladder_parts(
    optimizer: optax.GradientTransformation, options: LadderOptions
) -> LadderParts:
    """The parts of a model. Raises ConfigError for values out of range."""
    check_shape("shape", options.shape)
    check_ranges(options)
    law = options.likelihood
    law = check_unshared(make_likelihood(law) if isinstance(law, str) else law)
    shapes = level_shapes(options.shape, options.latents, options.halvings)
    classes = num_classes(checked_condition(options.condition))
    sizes = (shapes, options.width, tuple(options.shape), law.size, classes)
    halvings = tuple(options.halvings)
    network = ImageLadder(*sizes, halvings) if halvings else Ladder(*sizes)
    return LadderParts(network, law, optimizer, options)


def level_noise(
    parts: LadderParts, keys: Key[Array, "n"], hold: int = 0, held_seed: int = 0
) -> list[Float[Array, "n ..."]]:
    """Standard normal numbers for each level; the top `hold` levels have the same for all."""
    shared = jnp.broadcast_to(jax.random.key(held_seed), keys.shape)
    levels = enumerate(parts.network.levels)
    return [normal(fold_in(shared if i < hold else keys, i), shape) for i, shape in levels]


def _run(
    parts: LadderParts, params: Any, u: Array, keys: Array, label: Array | None = None
) -> tuple[Array, Pass]:
    """log p(x | z) [B] at one draw of the posterior, and the way down."""
    inputs = parts.likelihood.network_input(u)
    done: Any = parts.network.apply(params, inputs, level_noise(parts, keys), label)
    raw = done.raw.reshape(*u.shape, parts.likelihood.size)
    return parts.likelihood.log_prob(raw, u).reshape(len(u), -1).sum(1), done


def labels_of(parts: LadderParts, batch: Batch) -> Int[Array, "B"] | None:
    """The labels of a batch; None for a model without a condition."""
    condition = parts.options.condition
    return None if condition is None else condition.of_batch(batch)


def init_state(parts: LadderParts, key: Key[Array, ""], batch: Batch) -> PlainState:
    """Fresh state; raises ConfigError when the batch does not fit the options."""
    key_encode, key_params = jax.random.split(key)
    u, label = to_values(parts, key_encode, batch["x"])[:1], labels_of(parts, batch)
    one = None if label is None else label[:1]
    inputs, noise = parts.likelihood.network_input(u), level_noise(parts, sample_keys(key, 1))
    params = parts.network.init(key_params, inputs, noise, one)
    return PlainState(params, start_moments(parts.optimizer, params), jnp.int32(0))


def step(
    parts: LadderParts, key: Key[Array, ""], state: PlainState, batch: Batch
) -> tuple[PlainState, Metrics]:
    """One update."""
    options = parts.options
    key_encode, key_draw = jax.random.split(key)
    u, label = to_values(parts, key_encode, batch["x"]), labels_of(parts, batch)
    beta = options.beta * warm_up(state.step, options.warm_up)
    floors = options.free_bits * jnp.array([math.prod(level) for level in parts.network.levels])

    def loss(params):
        log_p, done = _run(parts, params, u, sample_keys(key_draw, len(u)), label)
        cost = with_free_bits(done.kl, floors).sum(-1)
        aux = {"elbo": log_p - done.kl.sum(-1), "log_likelihood": log_p}
        aux |= {f"kl_{level}": kl for level, kl in enumerate(done.kl.T)}
        return beta * cost - log_p, aux

    params, memory, metrics = optimizer_step(loss, parts.optimizer, state.params, state.optimizer)
    return PlainState(params, memory, state.step + 1), metrics


def draw_samples(
    parts: LadderParts,
    key: Key[Array, "*batch"],
    state: PlainState,
    n: int,
    *,
    hold: int = 0,
    held_seed: int = 0,
    mean: bool = False,
    **conditions: Any,
) -> Array:
    """Samples [n, ...] in data units; labels are drawn evenly if they are not given.

    Args:
      hold: the number of levels from the top that all samples share, drawn from `held_seed`.
      mean: E[x | z] instead of draws of x.
    """
    options = parts.options
    check_range("hold", hold, 0, len(options.latents), integer=True)
    keys = sample_keys(key, n)
    noise = level_noise(parts, keys, hold, held_seed)
    given = value_of(options.condition, conditions, n)
    label = null_or_drawn(options.condition, 0.0, given, fold_in(keys, len(noise) + 1))
    done: Any = parts.network.apply(state.params, noise, label=label, method="down")
    raw = done.raw.reshape(n, *options.shape, parts.likelihood.size)
    return draw_data(options, parts.likelihood, fold_in(keys, len(noise)), raw, mean)


def log_prob(
    parts: LadderParts,
    key: Key[Array, "*batch"],
    state: PlainState,
    x: Any,
    *,
    num_samples: int,
    **conditions: Any,
) -> Float[Array, "B"]:
    """The importance weighted bound of log p(x), or of log p(x | label), [B] in nats.

    Args:
      num_samples: draws for each example.
    """
    keys, condition = sample_keys(key, len(x)), parts.options.condition
    u, chunk = to_values(parts, fold_in(keys, 0), x), min(EVALUATION_CHUNK, num_samples)

    def of_label(label):
        def one(index):
            log_p, done = _run(parts, state.params, u, fold_in(fold_in(keys, 1), index), label)
            return log_p - done.log_ratio

        terms = lambda i: jax.vmap(one)(chunk * i + jnp.arange(chunk))
        return streaming_log_mean(terms, num_samples, chunk, jnp.zeros(len(x))).value

    label = value_of(condition, conditions, len(x))
    bound = log_prob_over(condition, 0.0, label, len(x), of_label)
    return bound + log_det(parts.options, u)


def model_from_ladder_parts(parts: LadderParts) -> GenerativeModel:
    """The model of parts that `make_ladder_parts` has checked."""
    model = assemble(
        parts,
        init_state,
        step,
        draw_samples,
        partial(log_prob, num_samples=parts.options.evaluation_samples),
        "lower bound",
    )
    return compiled(model, condition=parts.options.condition, encode=partial(to_values, parts))


@no_type_check
def hierarchical_vae(optimizer: optax.GradientTransformation, **options) -> GenerativeModel:
    """A hierarchical VAE; `options` are the fields of `LadderOptions`.

    Metrics hold each level's KL in nats, `kl_0` the top's. `sample` takes `hold`: the number of
    levels from the top that all samples share (drawn from `held_seed`), and `mean=True` for
    E[x | z]. `log_prob` is the importance weighted bound of `num_samples` draws.
    Raises ConfigError for values out of range.
    """
    return model_from_ladder_parts(
        make_ladder_parts(optimizer, options_from(LadderOptions, options))
    )
