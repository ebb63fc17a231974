"""VQ-VAE and its hierarchy (oord2017; razavi2019) as a `GenerativeModel`.

A prior on the codes is trained beside the network, on the codes of the moment: any model of
sequences of integers (`code_prior`). With it,

    log p(x) >= log p(x | codes(x)) + log p(codes(x))

which `log_prob` returns, a lower bound because one way to x is counted among many.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.checks import is_known, no_type_check
from gen_jax.conditions import Condition, checked_condition
from gen_jax.data_units import Data, log_det
from gen_jax.errors import ConfigError, check_shape
from gen_jax.frozen import parts_of
from gen_jax.model import GenerativeModel, assemble, compiled, sampler_of
from gen_jax.optimization import apply_gradient, start_moments
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.ranges import Count, Range, Weight, check_ranges, options_from
from gen_jax.types import Array, Batch, Float, Int, Key, Metrics, Num, State
from gen_jax.vae.code_networks import CodeNetwork, shapes_of
from gen_jax.vae.code_prior import independent_codes, num_codes, to_maps, to_sequence
from gen_jax.vae.diagnostics import codebook_use
from gen_jax.vae.likelihoods import Likelihood, check_unshared, make_likelihood
from gen_jax.vae.quantize import (
    Codebook,
    follow,
    nearest,
    quantisation_terms,
    revive,
    start_codebook,
    straight_through,
)
from gen_jax.vae.units import draw_data, mean_in_data_units, to_values

COUNTING = 0.98
"""Weight of the past in the counts of codes that learn by gradient."""


class VQOptions(NamedTuple):
    """How a VQ-VAE is made.

    Fields:
      shape: of one image after the transform.
      codes: K, size of each codebook.
      dim: of a code.
      commitment: weight of |z - sg(q)|^2.
      decay: of the codebook's running averages; None for codebooks that learn by gradient.
      revive_below: running count under which a code restarts; 0 for never.
      halvings, levels, width: of `CodeNetwork`.
      condition: of the prior, whose `sample` and `log_prob` take it; None for a prior without one.
    """

    shape: tuple[int, ...]
    codes: Count = 64
    dim: Count = 16
    likelihood: str | Likelihood = "discretized_logistic"
    transform: Any = None
    commitment: Weight = 0.25
    decay: Annotated[float | None, Range(0, 1)] = 0.98
    revive_below: Weight = 0.1
    halvings: Count = 2
    levels: Count = 1
    width: Count = 64
    condition: Condition | None = None


class VQState(NamedTuple):
    """Parameters, one codebook per level, the prior's state, optimizer, step."""

    params: Any
    codebooks: tuple[Codebook, ...]
    prior: Any
    optimizer: Any
    step: Int[Array, ""]


class VQParts(NamedTuple):
    """The network, the law of the pixels, the model of the codes."""

    network: CodeNetwork
    likelihood: Likelihood
    prior: GenerativeModel
    optimizer: optax.GradientTransformation
    options: VQOptions

    @property
    def sides(self) -> list[tuple[int, int]]:
        """Height and width of each map of codes, finest first."""
        return code_sides(self.options)


@no_type_check
def make_vq_parts(
    optimizer: optax.GradientTransformation,
    options: VQOptions,
    prior: GenerativeModel | None = None,
) -> VQParts:
    """The parts of a model; see `vqvae`. Raises ConfigError for values out of range."""
    check_ranges(options)
    checked_condition(options.condition)
    if len(check_shape("shape", options.shape)) != 3:
        raise ConfigError(f"shape={options.shape} must be [H, W, C]: a VQ-VAE is for images")
    law = options.likelihood
    law = check_unshared(make_likelihood(law) if isinstance(law, str) else law)
    outputs = options.shape[-1] * law.size
    sizes = (options.width, options.dim, options.halvings, options.levels)
    prior = prior or independent_codes(num_codes(code_sides(options)), options.codes)
    return VQParts(CodeNetwork(outputs, *sizes), law, prior, optimizer, options)


class Quantised(NamedTuple):
    """One level of one pass: encodings, codes, and the code vectors in their place."""

    z: Array
    codes: Array
    q: Array


def _pass(parts: VQParts, params: Any, codebooks, u: Array) -> tuple[list[Array], list[Quantised]]:
    """The maps that the decoder sees, and what happened at each level."""
    seen: dict[int, Quantised] = {}

    def quantise(level, z):
        vectors = codebooks[level].vectors
        codes = nearest(z, vectors)
        seen[level] = Quantised(z, codes, vectors[codes])
        return straight_through(z, vectors[codes])

    inputs = parts.likelihood.network_input(u)
    maps: Any = parts.network.apply(params, inputs, quantise, method="encode")
    return maps, [seen[level] for level in range(len(codebooks))]


def _raw(parts: VQParts, params: Any, maps: list[Array]) -> Array:
    """The decoder's numbers [B, H, W, C, P]."""
    raw: Any = parts.network.apply(params, maps, method="decode")
    return raw.reshape(len(raw), *parts.options.shape, -1)


def _log_likelihood(parts: VQParts, params: Any, maps: list[Array], u: Array) -> Array:
    terms = parts.likelihood.log_prob(_raw(parts, params, maps), u)
    return terms.reshape(len(u), -1).sum(1)


def code_sides(options: VQOptions) -> list[tuple[int, int]]:
    """Height and width of each map of codes, finest first; ConfigError if it cannot be halved."""
    height, width = options.shape[:2]
    return shapes_of((height, width), options.halvings, options.levels)


def training_loss(params, codebooks, parts: VQParts, u: Array) -> tuple[Array, tuple[dict, list]]:
    """The mean loss; the codebooks' own gradient is for those without running averages."""
    maps, levels = _pass(parts, params, codebooks, u)
    log_p = _log_likelihood(parts, params, maps, u)
    terms = [quantisation_terms(level.z, level.q) for level in levels]
    codebook, commitment = (sum(values, jnp.zeros(len(u))) for values in zip(*terms))
    learned = codebook if parts.options.decay is None else 0.0
    loss = -log_p + learned + parts.options.commitment * commitment
    aux = {"log_likelihood": log_p, "codebook": codebook, "commitment": commitment}
    return jnp.mean(loss), ({k: jnp.mean(v) for k, v in aux.items()}, levels)


def _follow_all(key, parts: VQParts, codebooks, levels: list[Quantised]):
    """Codebooks after the batch, and how many codes restarted."""
    books, restarted = [], jnp.int32(0)
    for index, (book, level) in enumerate(zip(codebooks, levels)):
        flat, codes = level.z.reshape(-1, level.z.shape[-1]), level.codes.reshape(-1)
        decay = parts.options.decay
        moved = follow(book, flat, codes, COUNTING if decay is None else decay)
        # A codebook that learns by gradient keeps its vectors; only its use is counted.
        book = moved if decay is not None else moved._replace(vectors=book.vectors)
        if parts.options.revive_below:
            own = jax.random.fold_in(key, index)
            book, dead = revive(own, book, flat, parts.options.revive_below)
            restarted = restarted + dead.astype(jnp.int32)
        books.append(book)
    return tuple(books), restarted


def init_state(parts: VQParts, key: Key[Array, ""], batch: Batch) -> VQState:
    """Fresh state, its codebooks drawn from the codes of the batch."""
    options = parts.options
    key_encode, key_params, key_books, key_prior = jax.random.split(key, 4)
    inputs = parts.likelihood.network_input(to_values(parts, key_encode, batch["x"]))
    params = parts.network.init(key_params, inputs[:1])
    seen: dict[int, Array] = {}
    record = lambda level, z: seen.setdefault(level, z)
    parts.network.apply(params, inputs, record, method="encode")
    fold = lambda level: jax.random.fold_in(key_books, level)
    flat = lambda level: seen[level].reshape(-1, options.dim)
    levels = range(options.levels)
    books = tuple(start_codebook(fold(level), flat(level), options.codes) for level in levels)
    learned = (params, [book.vectors for book in books])
    beside = {name: values[:1] for name, values in batch.items()}
    # The largest code, known under a trace too: a prior of fewer refuses it.
    none = {**beside, "x": np.full((1, num_codes(parts.sides)), options.codes - 1, np.int32)}
    first, moments = parts.prior.init(key_prior, none), start_moments(parts.optimizer, learned)
    return VQState(params, books, first, moments, jnp.int32(0))


def step(
    parts: VQParts, key: Key[Array, ""], state: VQState, batch: Batch
) -> tuple[VQState, Metrics]:
    """One update of the network and the codebooks, and one of the prior on the codes seen."""
    options = parts.options
    key_encode, key_revive, key_prior = jax.random.split(key, 3)
    u = to_values(parts, key_encode, batch["x"])
    vectors = [book.vectors for book in state.codebooks]

    def loss(learned):
        params, vectors = learned
        books = [b._replace(vectors=v) for b, v in zip(state.codebooks, vectors)]
        return training_loss(params, books, parts, u)

    learned = (state.params, vectors)
    (value, (aux, levels)), gradient = jax.value_and_grad(loss, has_aux=True)(learned)
    (params, vectors), memory = apply_gradient(
        parts.optimizer, gradient, state.optimizer, learned, value, lambda p: loss(p)[0]
    )
    books = state.codebooks
    if options.decay is None:
        books = tuple(b._replace(vectors=v) for b, v in zip(books, vectors))
    books, restarted = _follow_all(key_revive, parts, books, levels)
    seen = [level.codes for level in levels]
    coded = {**batch, "x": to_sequence(seen)}
    after, learnt = parts.prior.step(key_prior, state.prior, coded)
    metrics = {"loss": value, **aux, "restarted": restarted}
    for level, each in enumerate(seen):
        metrics[f"perplexity_{level}"] = codebook_use(each, options.codes).perplexity
    metrics["gradient_norm"] = optax.tree.norm(gradient[0])
    metrics |= {f"prior_{name}": value for name, value in learnt.items()}
    return VQState(params, books, after, memory, state.step + 1), metrics


def _decode(parts: VQParts, state: VQState, codes: Sequence[Array]) -> Float[Array, "B H W C P"]:
    """The likelihood's numbers for maps of codes."""
    maps = [book.vectors[c] for book, c in zip(state.codebooks, codes)]
    return _raw(parts, state.params, maps)


def draw_samples(
    parts: VQParts,
    key: Key[Array, "*batch"],
    state: VQState,
    n: int,
    *,
    mean: bool = False,
    **conditions: Any,
) -> Array:
    """Samples [n, ...] in data units; with `mean` E[x | codes] instead of draws of x.

    Other options are those of the prior.
    """
    keys = sample_keys(key, n)
    given = {name: value for name, value in conditions.items() if value is not None}
    codes = sampler_of(parts.prior)(fold_in(keys, 0), state.prior, n, **given)
    drawn = to_maps(codes, parts.sides)
    raw = _decode(parts, state, drawn)
    return draw_data(parts.options, parts.likelihood, fold_in(keys, 1), raw, mean)


def log_prob(
    parts: VQParts, key: Key[Array, "*batch"], state: VQState, x: Any, **conditions: Any
) -> Float[Array, "B"]:
    """log p(x | codes(x)) + log p(codes(x)), [B] in nats: a lower bound of log p(x)."""
    u, score_codes = to_values(parts, key, x), parts.prior.log_prob
    assert score_codes is not None
    maps, levels = _pass(parts, state.params, state.codebooks, u)
    of_pixels = _log_likelihood(parts, state.params, maps, u) + log_det(parts.options, u)
    codes = to_sequence([level.codes for level in levels])
    return of_pixels + score_codes(key, state.prior, codes, **conditions)


def _trained(parts: VQParts, state: VQState) -> tuple[Any, list[Any], Any]:
    vectors = [book.vectors for book in state.codebooks]
    return state.params, vectors, parts.prior.parameters(state.prior)


def _of_prior(parts: VQParts) -> tuple[dict[str, str], dict[str, Any]]:
    """What else the prior's `sample` takes, such as guidance, with its kinds; and its checks."""
    condition, prior = parts.options.condition, parts.prior.held
    own = {"mean", *(() if condition is None else condition.checks)}
    kinds = {name: kind for name, kind in prior.conditions.items() if name not in own}
    checks = getattr(prior.sample, "checks", {})
    return kinds, {name: checks[name] for name in kinds if name in checks}


def model_from_vq_parts(parts: VQParts) -> GenerativeModel:
    """The model of parts that `make_vq_parts` has checked."""
    passed, checks = _of_prior(parts)
    has_bound = parts.prior.log_prob is not None
    model = assemble(
        parts,
        init_state,
        step,
        draw_samples,
        log_prob if has_bound else None,
        "lower bound" if has_bound else "none",
        parameters=partial(_trained, parts),
    )
    return compiled(
        model._replace(conditions=passed),
        condition=parts.options.condition,
        per_sample=checks,
        encode=partial(to_values, parts),
    )


@no_type_check
def vqvae(
    optimizer: optax.GradientTransformation, prior: GenerativeModel | None = None, **options
) -> GenerativeModel:
    """A VQ-VAE; `options` are the fields of `VQOptions`.

    Args:
      prior: a model of integers [T] in 0 .. codes - 1, T being the `num_codes` of
        `code_sides`; `independent_codes` if not given. It finds in a batch what is there beside
        "x", such as captions; with `condition` it is given in `sample` and `log_prob` too.
    Metrics hold each level's perplexity over the batch, the number of codes that restarted, and the
    prior's own with "prior_" before them.
    `sample` takes `mean=True` for E[x | codes], and the options of the prior's. `encode_codes` and
    `decode_codes` hand out the trained networks. Raises ConfigError for values out of range, for
    images that cannot be halved, and for codebooks larger than the first batch.
    """
    return model_from_vq_parts(make_vq_parts(optimizer, options_from(VQOptions, options), prior))


def encodings(
    parts: VQParts, state: VQState, key: Key[Array, "*batch"], x: Data
) -> list[Float[Array, "B _ _ D"]]:
    """Maps of what the encoder gives before the nearest code is taken, finest first."""
    u = to_values(parts, key, x)
    return [level.z for level in _pass(parts, state.params, state.codebooks, u)[1]]


def encode_codes(
    model: GenerativeModel, state: State, x: Data, *, key: Key[Array, "*batch"] | None = None
) -> list[Int[Array, "B _ _"]]:
    """Integer maps [B, h, w] of codes of images in data units, finest first: data for a prior.

    Args:
      key: of a random transform; the same noise at each call if not given.
    """
    parts, own = parts_of(model, state, VQParts)
    u = to_values(parts, jax.random.key(0) if key is None else key, x)
    return [level.codes for level in _pass(parts, own.params, own.codebooks, u)[1]]


def _checked_maps(options: VQOptions, codes: Any) -> list[Array]:
    """Maps of codes, finest first. Raises ConfigError for those that the model has not."""
    maps, sides = [jnp.asarray(each) for each in codes], code_sides(options)
    whole = all(jnp.issubdtype(each.dtype, jnp.integer) for each in maps)
    if not whole or [each.shape[1:] for each in maps] != sides:
        found = [f"{each.dtype} {list(each.shape)}" for each in maps]
        raise ConfigError(f"codes are {found}, must be integer maps [B, h, w] of h, w = {sides}")
    for values in map(np.asarray, filter(is_known, codes)):  # by numpy: jax would trace it
        if values.size and not (values.min() >= 0 and values.max() < options.codes):
            raise ConfigError(
                f"codes in [{values.min()}, {values.max()}] must be in [0, {options.codes - 1}]"
            )
    return maps


@no_type_check
def decode_codes(
    model: GenerativeModel,
    state: State,
    codes: Sequence[Int[Array | np.ndarray, "B _ _"]],
    *,
    raw: bool = False,
) -> Num[Array, "B ..."]:
    """E[x | codes] in data units for maps [B, h, w] of codes, from whatever prior they come.

    Args:
      raw: the numbers [B, H, W, C, P] of `likelihood` instead.
    Raises ConfigError for codes that the model has not, and for a model of another family.
    """
    parts, own = parts_of(model, state, VQParts)
    numbers = _decode(parts, own, _checked_maps(parts.options, codes))
    return numbers if raw else mean_in_data_units(parts.options, parts.likelihood, numbers)
