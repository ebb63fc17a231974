"""Rectangular flows (caterini2021): a density on a d-dimensional surface in D > d dimensions.

x = g(z) = outer(pad(inner(z))): `inner` is a flow of [B, d], `pad` adds D - d zeros, `outer` a flow
of [B, D]. On the surface, per unit of its own d-dimensional volume,

    log p(x) = log p(z) - log |det inner'| - (1/2) log det(J^T J),   J = d outer(pad(v)) / dv.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import no_type_check
from gen_jax.data_units import DEQUANTIZED, check_data, check_real, to_data, to_model_vectors
from gen_jax.errors import check_range, check_shape
from gen_jax.flows.bijector import Layer, start_from_data
from gen_jax.flows.density import log_density
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.optimization import AveragedState, init_state_with_ema, optimizer_step_with_ema
from gen_jax.randomness import normal, sample_keys
from gen_jax.ranges import Count, Share, Weight, check_ranges, options_from
from gen_jax.types import Array, Batch, Float, Key, Metrics, State


class Surface(NamedTuple):
    """Maps between latents z [B, d] and points x [B, D], and the density on the surface.

    Fields:
      decode: `z -> x`.
      encode: `x -> z` of the point's projection by the outer flow.
      log_prob: `x -> log p` [B] of the projection, nats per unit of the surface's volume.
    """

    decode: Callable[[Array], Array]
    encode: Callable[[Array], Array]
    log_prob: Callable[[Array], Array]


def log_gram(embed: Callable[[Array], Array], v: Float[Array, "B d"]) -> Float[Array, "B"]:
    """(1/2) log det(J^T J) of `embed: [B, d] -> [B, D]`, one derivative per latent dimension."""
    basis = jnp.eye(v.shape[1], dtype=v.dtype)
    along = lambda e: jax.jvp(embed, (v,), (jnp.broadcast_to(e, v.shape),))[1]
    columns = jax.vmap(along)(basis)
    gram = jnp.einsum("ibk,jbk->bij", columns, columns, precision="highest")
    return 0.5 * jnp.linalg.slogdet(gram)[1]


def make_surface(inner: Layer, outer: Layer, params: State, dim: int, latent: int) -> Surface:
    """The surface of `params = {"inner": ..., "outer": ...}`."""
    flat, bent = inner.bijector(params["inner"]), outer.bijector(params["outer"])

    def embed(v):
        return bent.forward(jnp.pad(v, ((0, 0), (0, dim - latent))))[0]

    def project(x):
        return bent.inverse(x)[0][:, :latent]

    def log_prob(x):
        v = project(x)
        return log_density(flat, v) - log_gram(embed, v)

    return Surface(
        lambda z: embed(flat.forward(z)[0]), lambda x: flat.inverse(project(x))[0], log_prob
    )


class Options(NamedTuple):
    """Options of `manifold_flow`.

    Fields:
      shape: of one example after the transform.
      latent: dimensions d of the surface.
      transform: `data.Transform`; for images best without noise, which lies off every surface.
      reconstruction: weight of |u - to_data(encode(u))|^2, per example, u in the flow's units.
      ema_decay: of the parameters' moving average, which samples.
    """

    shape: tuple[int, ...]
    latent: Count
    transform: Any = None
    reconstruction: Weight = 50.0
    ema_decay: Share = 0.999


class Parts(NamedTuple):
    """What the samples and the surface of a rectangular flow are made of."""

    inner: Layer
    outer: Layer
    optimizer: optax.GradientTransformation
    options: Options

    @property
    def dim(self) -> int:
        """D."""
        return math.prod(self.options.shape)

    def surface(self, params: State) -> Surface:
        """The surface of these parameters."""
        return make_surface(self.inner, self.outer, params, self.dim, self.options.latent)


@no_type_check
def make_parts(
    inner: Layer, outer: Layer, optimizer: optax.GradientTransformation, options: Options
) -> Parts:
    """The parts of a model. Raises ConfigError unless 1 <= latent < D."""
    shape = check_shape("shape", options.shape)
    parts = Parts(inner, outer, optimizer, options._replace(shape=tuple(shape)))
    check_range("dim", parts.dim, 2, integer=True)
    check_range("latent", options.latent, 1, parts.dim - 1, integer=True)
    check_ranges(options)
    return parts


def init_state(parts: Parts, key: Key[Array, ""], batch: Batch) -> AveragedState:
    """Fresh state, its actnorms set from the batch."""
    options, outer = parts.options, parts.outer
    key_inner, key_outer, key_data = jax.random.split(key, 3)
    check_real(options, batch["x"], DEQUANTIZED)
    check_data(options, batch["x"])
    u = to_model_vectors(options, key_data, batch["x"])
    begun = start_from_data(outer, outer.init(key_outer, parts.dim), u)
    v = outer.bijector(begun).inverse(u)[0][:, : options.latent]
    within = start_from_data(parts.inner, parts.inner.init(key_inner, options.latent), v)
    return init_state_with_ema({"inner": within, "outer": begun}, parts.optimizer)


def step(
    parts: Parts, key: Key[Array, ""], state: AveragedState, batch: Batch
) -> tuple[AveragedState, Metrics]:
    """One update on the distance to the projections minus their log p."""
    options = parts.options

    def loss(params):
        here = parts.surface(params)
        u = to_model_vectors(options, key, batch["x"])
        away = jnp.sum((u - here.decode(here.encode(u))) ** 2, -1)
        log_p = here.log_prob(u)
        return options.reconstruction * away - log_p, {"log_prob": log_p, "distance": away}

    return optimizer_step_with_ema(loss, parts.optimizer, options.ema_decay, state)


def draw_samples(parts: Parts, key: Key[Array, "*batch"], state: AveragedState, n: int) -> Array:
    """Points [n, ...] of the surface in data units."""
    z = normal(sample_keys(key, n), (parts.options.latent,))
    return to_data(parts.options, parts.surface(state.ema).decode(z))


def model_from_parts(parts: Parts) -> GenerativeModel:
    """The model of parts that `make_parts` has checked."""
    return compiled(assemble(parts, init_state, step, draw_samples))


@no_type_check
def manifold_flow(
    inner: Layer, outer: Layer, optimizer: optax.GradientTransformation, **options
) -> GenerativeModel:
    """A rectangular flow: likelihood of the projections, and distance to them.

    `options` are the fields of `Options`. There is no `log_prob`: a density per volume of a surface
    is not comparable with one in D dimensions; `surface(model, state)` has it.

    Args:
      inner, outer: flows of vectors of `latent` and of D = prod(shape) numbers.
    """
    return model_from_parts(make_parts(inner, outer, optimizer, options_from(Options, options)))
