"""A trained VAE or VQ-VAE as the first stage of a model of its latents (vahdat2021; rombach2022).

    log p(x) >= E_q[log p(x | z) - log q(z | x) + log p_u((z - mean) / std)] - sum log std

The second stage models u = (z - mean) / std, whose moments are those of posterior draws over the
training set, by channel: a scale from one batch, or of posterior means, is another one.

Of a VQ-VAE z is what the encoder gives before the nearest code is taken, which the decoder does
then. There is no bound: the probability of an image's codes is the integral of p(z) over their
cells, which nothing here computes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.batching import batch_rows
from gen_jax.checks import as_array, as_key, check_callable, check_output, no_type_check
from gen_jax.data_units import Data
from gen_jax.errors import ConfigError, DataError, check_finite, check_range, shown
from gen_jax.frozen import given, parts_of, unfrozen
from gen_jax.model import GenerativeModel, compiled
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.types import Array, Float, Key, State
from gen_jax.vae.diagnostics import active_units
from gen_jax.vae.model import model_from_parts
from gen_jax.vae.options import Parts
from gen_jax.vae.posterior import choose_stratum
from gen_jax.vae.priors import Prior, fixed, model_prior
from gen_jax.vae.quantize import nearest
from gen_jax.vae.trained import decode, encode
from gen_jax.vae.units import to_values
from gen_jax.vae.vqvae import VQParts, code_sides, decode_codes, encodings

BATCH_SIZE = 500

Density = Callable[[Key[Array, "B"], GenerativeModel, State, Array], Array]
"""`(keys [B], model of u, its state, u [B, ...]) -> log p(u) [B]` in nats, or a bound on it."""


class FirstStage(NamedTuple):
    """What a second stage holds frozen.

    Fields:
      state: of the VAE, without its optimizers; of a VQ-VAE also without its prior.
      mean, std: of a latent [C] by channel, or [D].
    """

    state: Any
    mean: Float[Array, " channels"]
    std: Float[Array, " channels"]


class Coder(NamedTuple):
    """What unstandardised latents are replaced by: `encode(key, x) -> u`, `decode(u) -> x`.

    It has the form of `data.Transform`; `log_det` is 0, because a coder changes no density: the
    bound of the whole is `latent_model`'s.
    """

    encode: Callable
    decode: Callable
    log_det: Callable


def _parts(model: GenerativeModel, state: State) -> tuple[Any, Any]:
    """The parts of what can be a first stage, and their state; raises ConfigError as
    `latent_shape` says."""
    inner, own = unfrozen(model, state)
    if isinstance(inner.parts, VQParts):
        levels = inner.parts.options.levels
        if levels > 1:
            raise ConfigError(f"levels={levels} of the first stage must be 1: one map of codes")
        return inner.parts, own
    parts, own = parts_of(model, state, Parts)
    if parts.objective is None or parts.options.condition is not None:
        raise ConfigError("the first stage must be a vqvae, or a vae without labels")
    return parts, own


def latent_shape(model: GenerativeModel, state: State) -> tuple[int, ...]:
    """[h, w, c] of the latents of a `vqvae` or a `convolutional` VAE, [D] of any other.

    Raises ConfigError for a model that is neither `vae` nor `vqvae`, whose networks see a label, or
    that has several maps of codes.
    """
    parts, _ = _parts(model, state)
    if isinstance(parts, VQParts):
        return (*code_sides(parts.options)[0], parts.options.dim)
    return getattr(parts.encoder, "latent_shape", (parts.options.latent,))


def latent_draws(
    model: GenerativeModel, state: State, key: Key[Array, "*batch"], x: Data
) -> Float[Array, "B ..."]:
    """One draw of q(z | x) of each example [B, *latent_shape]; E[z | x] of a coder without noise.

    Args:
      key: one key, or one for each example.
    """
    shape, keys = latent_shape(model, state), sample_keys(key, len(x))
    parts, own = _parts(model, state)
    if isinstance(parts, VQParts):
        return encodings(parts, own, fold_in(keys, 0), x)[0]
    posterior: Any = encode(model, state, x, key=fold_in(keys, 0))
    if parts.objective.deterministic:
        z = posterior.moments[0]
    else:
        z = choose_stratum(fold_in(keys, 2), posterior.draw(posterior.params, fold_in(keys, 1)))
    return z.reshape(len(z), *shape)


def untouched(model: GenerativeModel, state: State) -> FirstStage:
    """The first stage with mean 0 and std 1."""
    parts, own = _parts(model, state)
    channels = latent_shape(model, state)[-1]
    unused = ("optimizer", "prior" if isinstance(parts, VQParts) else "critic_optimizer")
    bare = own._replace(**dict.fromkeys(unused, ()))
    return FirstStage(bare, jnp.zeros(channels), jnp.ones(channels))


@no_type_check
def first_stage(
    key: Key[Array, ""], model: GenerativeModel, state: State, x: Data, threshold: float = 0.01
) -> FirstStage:
    """The first stage with the moments of posterior draws of x [N, ...], the training set.

    Args:
      threshold: a channel whose posterior mean has no larger variance over x (the mean over its
        places) is dead (burda2016, `active_units`); 0 allows all but constant latents. Of a VQ-VAE
        and of a deterministic encoder, whose latents have no unit, it is a share of the mean
        variance of all channels.
    Raises ConfigError for dead channels, as those of a single example are, for a VQ-VAE with one
    code in use, and as `latent_shape`; DataError for no examples, or some that are not finite.
    """
    stage, key = untouched(model, state), as_key("key", key)
    check_finite("threshold", check_range("threshold", threshold, 0))
    x = as_array("x", x)
    if not x.ndim or not len(x):
        raise DataError("x holds no examples, must be the training set [N, ...] with N >= 2")
    bare = jax.jit(lambda key, state, x: _draws_and_means(model, state, key, x))
    rows = enumerate(batch_rows(len(x), min(BATCH_SIZE, len(x))))
    found = [bare(jax.random.fold_in(key, i), stage.state, x[part]) for i, part in rows]
    z, means, codes = (np.concatenate(arrays)[: len(x)] for arrays in zip(*found, strict=True))
    z = z.reshape(-1, z.shape[-1]).astype(np.float64)
    variance = active_units(jnp.asarray(means.reshape(len(x), -1)))[1]
    spread = np.asarray(variance).reshape(-1, z.shape[-1]).mean(0)
    parts, _ = _parts(model, stage.state)
    quantised = isinstance(parts, VQParts)
    free = quantised or parts.objective.deterministic
    least = threshold * (spread.mean() if free else 1)
    dead = np.flatnonzero((spread <= least) | (z.std(0) < 1e-6))
    if dead.size:
        instead = "a smaller dim" if quantised else "fewer latents or a smaller beta"
        raise ConfigError(
            f"{dead.size} of {z.shape[-1]} latent channels are dead (first: {dead[0]}, variance of "
            f"its posterior mean {spread[dead[0]]:.2g}, must be above {least:.2g}): train the "
            f"first stage longer, with {instead}"
        )
    if quantised and np.ptp(codes) == 0:
        raise ConfigError(
            f"the first stage has 1 code in use for all of {len(x)} examples: train it longer"
        )
    moments = (jnp.asarray(value, jnp.float32) for value in (z.mean(0), z.std(0)))
    return FirstStage(stage.state, *moments)


def _draws_and_means(
    model: GenerativeModel, state: State, key: Any, x: Any
) -> tuple[Array, Array, Array]:
    """Draws, means, and the codes of a VQ-VAE."""
    parts, own = _parts(model, state)
    z = latent_draws(model, state, key, x)
    if isinstance(parts, VQParts):
        return z, z, nearest(z, own.codebooks[0].vectors)
    params = encode(model, state, x).moments
    return z, z if params is None else params[0], jnp.zeros(len(z))


def coder(model: GenerativeModel, stage: FirstStage) -> Coder:
    """Data units to u = (z - mean) / std of a posterior draw z, and back to E[x | z]."""
    state, mean, std = stage

    def to_data(u: Float[Array, "B ..."]) -> Array:
        z = u * std + mean
        parts, own = _parts(model, state)
        if isinstance(parts, VQParts):
            return decode_codes(model, state, [nearest(z, own.codebooks[0].vectors)])
        return decode(model, state, z.reshape(len(z), -1))

    return Coder(
        lambda key, x: (latent_draws(model, state, key, x) - mean) / std,
        to_data,
        lambda u: jnp.zeros(u.shape[:1]),
    )


def with_prior(model: GenerativeModel, state: State, prior: Prior) -> GenerativeModel:
    """The trained VAE with another prior, of the same state; its `log_prob` is the bound of both.

    Raises ConfigError for a model that is no `vae`.
    """
    parts, _ = parts_of(model, state, Parts)
    return model_from_parts(parts._replace(prior=fixed(prior)))


@no_type_check
def latent_model(
    model: GenerativeModel,
    stage: FirstStage,
    make: Callable[[Any], GenerativeModel],
    density: Density | None = None,
) -> GenerativeModel:
    """A model of a trained first stage's latents, in data units, with the bound of the whole.

    Its state is `Given(stage, that of the second stage)`, so that a checkpoint is whole. Samples
    are E[x | z]. `log_prob` takes `num_samples`, the draws of z (1; more tighten a bound whose
    inner density is exact); it is None where there is no q(z | x): of a VQ-VAE, and of a VAE with a
    deterministic encoder.

    Args:
      model: the trained `vae` or `vqvae`; its state is in `stage`.
      make: `transform -> GenerativeModel` of u [B, *latent_shape], in the units of a
        `data.Transform` or, with None, of u itself; the state is the same.
      density: of u in place of the model's own `log_prob`, a lower bound.
    Raises ConfigError as `latent_shape`, and for a density of what has no bound.
    """
    if not isinstance(stage, FirstStage):
        raise ConfigError(f"stage={shown(stage)} must be a FirstStage, of first_stage")
    if density is not None:
        check_callable("density", density)
    shape = latent_shape(model, stage.state)

    def whole(stage: FirstStage) -> GenerativeModel:
        made, inner = make(coder(model, stage)), make(None)
        for found in (made, inner):
            if not isinstance(found, GenerativeModel):
                raise ConfigError(f"make returned {shown(found)}, must return a GenerativeModel")
        plain: Any = inner.log_prob
        own: Any = density or (lambda key, inner, state, u: plain(key, state, u))
        parts, _ = _parts(model, stage.state)
        implicit = isinstance(parts, VQParts) or parts.objective.deterministic
        if implicit and density is not None:
            raise ConfigError(
                "density is for a first stage with q(z | x): the latents of a VQ-VAE, and of a "
                "deterministic encoder, give no bound of log p(x)"
            )
        if implicit or (density is None and plain is None):
            return made._replace(log_prob=None, log_prob_kind="none")
        everywhere = lambda moment: jnp.broadcast_to(moment, shape).ravel()

        def log_prob(key, state, x, *, num_samples: int = 1):
            keys = sample_keys(key, len(x))

            def of_vectors(_, state, u):
                draws = len(u) // len(x)  # of each example, in turn
                number = jnp.repeat(jnp.arange(draws), len(x))
                own_keys = jax.vmap(jax.random.fold_in)(jnp.tile(fold_in(keys, 0), draws), number)
                found = own(own_keys, inner, state, u.reshape(-1, *shape))
                return check_output("density", found, (len(u),), "one number per point, ")

            flat = inner._replace(log_prob=of_vectors)
            prior = model_prior(flat, state, everywhere(stage.mean), everywhere(stage.std))
            bound: Any = with_prior(model, stage.state, prior).log_prob
            return bound(fold_in(keys, 1), stage.state, x, num_samples=num_samples)

        exact = density is not None or inner.log_prob_kind in ("exact", "lower bound")
        kind = "lower bound" if exact else "estimate"
        bounded = made._replace(log_prob=log_prob, log_prob_kind=kind)
        return compiled(bounded, encode=partial(to_values, parts))

    return given(stage, whole)
