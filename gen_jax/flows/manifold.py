"""Rectangular flows (caterini2021): a density on a d-dimensional surface in D > d dimensions.

x = g(z) = outer(pad(inner(z))): `inner` is a flow of [B, d], `pad` adds D - d zeros, `outer` a flow
of [B, D]. On the surface, per unit of its own d-dimensional volume,

    log p(x) = log p(z) - log |det inner'| - (1/2) log det(J^T J),   J = d outer(pad(v)) / dv.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.descent import descend_averaged, first_state
from gen_jax.errors import check_range
from gen_jax.flows.bijector import Layer
from gen_jax.flows.density import log_density
from gen_jax.flows.likelihood_model import check_batch
from gen_jax.model import GenerativeModel, normal, sample_keys
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


def manifold_flow(
    inner: Layer,
    outer: Layer,
    optimizer: optax.GradientTransformation,
    *,
    dim: int,
    latent: int,
    reconstruction: float = 50.0,
    ema_decay: float = 0.999,
) -> GenerativeModel:
    """A rectangular flow of points [B, D]: likelihood of the projections and distance to them.

    Args:
      reconstruction: weight of |x - decode(encode(x))|^2, per example.
    `sample` draws points of the surface. There is no `log_prob`: a density per volume of a surface
    is not comparable with one in D dimensions; use `surface(...)` with the state's `ema`. Raises
    ConfigError unless 1 <= latent < dim.
    """
    check_range("dim", dim, 2, integer=True)
    check_range("latent", latent, 1, dim - 1, integer=True)
    check_range("reconstruction", reconstruction, 0)
    check_range("ema_decay", ema_decay, 0, 1)

    def init(key, batch):
        check_batch(batch, (dim,), 0)
        key_inner, key_outer = jax.random.split(key)
        params = {"inner": inner.init(key_inner, latent), "outer": outer.init(key_outer, dim)}
        return first_state(params, optimizer)

    def loss(params, key, batch):
        here = surface(inner, outer, params, dim, latent)
        away = jnp.sum((batch["x"] - here.decode(here.encode(batch["x"]))) ** 2, -1)
        log_p = here.log_prob(batch["x"])
        return reconstruction * away - log_p, {"log_prob": log_p, "distance": away}

    def step(key, state, batch):
        return descend_averaged(lambda p: loss(p, key, batch), optimizer, ema_decay, state)

    def sample(key, state, n):
        here = surface(inner, outer, state.ema, dim, latent)
        return here.decode(normal(sample_keys(key, n), (latent,)))

    return GenerativeModel(init, step, sample)
