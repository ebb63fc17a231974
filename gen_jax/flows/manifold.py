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
from gen_jax.data_units import Units, check_data, to_data, to_model_vectors
from gen_jax.errors import check_range, check_shape
from gen_jax.flows.bijector import Layer, start_from_data
from gen_jax.flows.density import log_density
from gen_jax.model import GenerativeModel, compiled
from gen_jax.optimization import init_state_with_ema, optimizer_step_with_ema
from gen_jax.randomness import normal, sample_keys
from gen_jax.types import Array, Float, State


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


def surface(inner: Layer, outer: Layer, params: State, dim: int, latent: int) -> Surface:
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


@no_type_check
def manifold_flow(
    inner: Layer,
    outer: Layer,
    optimizer: optax.GradientTransformation,
    *,
    shape: tuple[int, ...],
    latent: int,
    transform: Any = None,
    reconstruction: float = 50.0,
    ema_decay: float = 0.999,
) -> GenerativeModel:
    """A rectangular flow: likelihood of the projections, and distance to them.

    Args:
      inner, outer: flows of vectors of `latent` and of D = prod(shape) numbers.
      shape: of one example after the transform.
      transform: `data.Transform`; for images best without noise, which lies off every surface.
      reconstruction: weight of |u - to_data(encode(u))|^2, per example, u in the flow's units.
    `init` sets the actnorms from the batch. `sample` draws points of the surface. There is no
    `log_prob`: a density per volume of a surface is not comparable with one in D dimensions; use
    `surface(...)` with the state's `ema`. Raises ConfigError unless 1 <= latent < D.
    """
    shape = check_shape("shape", shape)
    dim, units = math.prod(shape), Units(tuple(shape), transform)
    check_range("dim", dim, 2, integer=True)
    check_range("latent", latent, 1, dim - 1, integer=True)
    check_range("reconstruction", reconstruction, 0)
    check_range("ema_decay", ema_decay, 0, 1)

    def init(key, batch):
        key_inner, key_outer, key_data = jax.random.split(key, 3)
        check_data(units, batch["x"])
        u = to_model_vectors(units, key_data, batch["x"])
        begun = start_from_data(outer, outer.init(key_outer, dim), u)
        v = outer.bijector(begun).inverse(u)[0][:, :latent]
        within = start_from_data(inner, inner.init(key_inner, latent), v)
        return init_state_with_ema({"inner": within, "outer": begun}, optimizer)

    def loss(params, key, batch):
        here = surface(inner, outer, params, dim, latent)
        u = to_model_vectors(units, key, batch["x"])
        away = jnp.sum((u - here.decode(here.encode(u))) ** 2, -1)
        log_p = here.log_prob(u)
        return reconstruction * away - log_p, {"log_prob": log_p, "distance": away}

    def step(key, state, batch):
        return optimizer_step_with_ema(lambda p: loss(p, key, batch), optimizer, ema_decay, state)

    def sample(key, state, n):
        here = surface(inner, outer, state.ema, dim, latent)
        return to_data(units, here.decode(normal(sample_keys(key, n), (latent,))))

    return compiled(GenerativeModel(init, step, sample))
