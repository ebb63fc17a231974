"""MADE as a model (germain2015): any law of its outputs, any ordering, or a mixture of several."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.autoregressive.decoding import Decoder
from gen_jax.autoregressive.factorisation import Factorisation
from gen_jax.autoregressive.likelihoods import LIKELIHOODS, Likelihood
from gen_jax.autoregressive.model import autoregressive
from gen_jax.checks import no_type_check
from gen_jax.conditions import checked_condition, num_classes, one_hot
from gen_jax.errors import ConfigError, check_choice, check_range, check_shape
from gen_jax.model import GenerativeModel
from gen_jax.nets import MADE


def orderings(num: int, dim: int, seed: int = 0) -> np.ndarray:
    """The natural ordering and num - 1 random ones, [num, dim]."""
    check_range("orderings", num, 1, integer=True)
    shuffle = np.random.RandomState(seed)  # its stream is frozen, unlike default_rng's
    return np.stack([np.arange(dim), *(shuffle.permutation(dim) for _ in range(num - 1))])


def _checked_orders(orders: Any, dim: int) -> np.ndarray:
    table = orderings(orders, dim) if isinstance(orders, int) else np.atleast_2d(orders)
    if table.shape[1:] != (dim,) or (np.sort(table, 1) != np.arange(dim)).any():
        raise ConfigError(f"orders of shape {table.shape} must be permutations of 0 .. {dim - 1}")
    return table


def factorise(network: MADE, likelihood: Likelihood, orders: np.ndarray) -> Factorisation:
    """A MADE in the given orderings [K, D]; units are the coordinates.

    Discrete values enter on [0, 1]: the weights of one that is 0 in all data then stay as they are,
    instead of acting as a bias that a single stray sample turns over.
    """
    table = jnp.asarray(np.argsort(orders, axis=1))
    natural = (orders == np.arange(network.dim)).all()

    def inputs(u):
        x = likelihood.inputs(u[..., 0])
        return (x + 1) / 2 if likelihood.levels else x

    def rows(label):
        return None if label is None else one_hot(label, network.condition_size)

    def raw(params, u, label, k):
        return network.apply(params, inputs(u), rows(label), None if natural else table[k])

    def decoder(params, label, k):
        """Only the wanted outputs of each pass."""

        def step(u, index, previous):
            u = jnp.where(index > 0, u.at[:, index - 1].set(previous), u)
            one = network.apply(params, inputs(u), index, rows(label), method="one_block")
            return jnp.asarray(one)[:, 0], u

        dtype = jnp.int32 if likelihood.levels else jnp.float32
        return Decoder(lambda batch: jnp.zeros((batch, network.dim, 1), dtype), step)

    def init(key, label):
        del label
        return network.init(key, jnp.zeros((1, network.dim)))

    return Factorisation(init, raw, orders, decoder if natural else None)


@no_type_check
def made(
    optimizer: optax.GradientTransformation,
    *,
    shape: tuple[int, ...],
    likelihood: str | Likelihood = "bernoulli",
    hidden: tuple[int, ...] = (500, 500),
    orders: int | Any = 1,
    direct: bool = True,
    **options: Any,
) -> GenerativeModel:
    """A masked autoencoder with exact log p; `options` are the fields of `Options`.

    Args:
      likelihood: a name in LIKELIHOODS, or one of their results with one value per unit.
      orders: how many orderings (the first is the natural one), or the orderings [K, D] themselves.
        Training draws one per step; the model is their equal mixture.
      direct: whether outputs are also linear in the inputs before them.
    Raises ConfigError for names, sizes and orderings that cannot work.
    """
    if isinstance(likelihood, str):
        likelihood = LIKELIHOODS[check_choice("likelihood", likelihood, LIKELIHOODS)]()
    if likelihood.event != 1:
        raise ConfigError(f"likelihood with {likelihood.event} values per unit, MADE needs 1")
    shape = check_shape("shape", shape)
    dim = math.prod(shape)
    classes = num_classes(checked_condition(options.get("condition")))
    network = MADE(dim, likelihood.size, hidden, 1, classes, direct)
    factorisation = factorise(network, likelihood, _checked_orders(orders, dim))
    return autoregressive(factorisation, likelihood, optimizer, shape=shape, **options)
