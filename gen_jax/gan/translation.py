"""What models from image to image share: pairs, sources to sample from, scores of patches.

A pair is one image [H, 2 W, C], its source left and its target right (see `gen_jax.data.pairs`).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import as_floats, as_network, check_output
from gen_jax.data_units import Units, check_data, check_real
from gen_jax.errors import ConfigError, check_shape
from gen_jax.gan.losses import ScoreLoss
from gen_jax.types import Array, Batch, Float, Key, Num

MEMORY = 256
"""Sources of the latest batches that a model keeps, to sample from when it is given none."""


def check_pair(shape: Any) -> tuple[int, ...]:
    """(H, W, C) of each image of a pair of this shape. Raises ConfigError when it is none."""
    shape = check_shape("shape", shape)
    if len(shape) != 3 or shape[1] < 2 or shape[1] % 2:
        raise ConfigError(f"shape={tuple(shape)} is no pair of images (H, 2 W, C) side by side")
    return shape[0], shape[1] // 2, shape[2]


def check_images(shape: Any, transform: Any, batch: Batch) -> None:
    """ConfigError for images of another shape, DataError for values the transform refuses."""
    units = Units(tuple(shape), transform)
    check_real(units, batch["x"])
    check_data(units, batch["x"])


def split_pair(x: Num[Array, "B H W2 C"]) -> tuple[Num[Array, "B H W C"], Num[Array, "B H W C"]]:
    """Source and target."""
    width = x.shape[2] // 2
    return x[:, :, :width], x[:, :, width:]


def join_pair(source: Num[Array, "B H W C"], target: Num[Array, "B H W C"]) -> Array:
    """Inverse of `split_pair`."""
    return jnp.concatenate([source, target], 2)


def patch_loss(
    loss: ScoreLoss, real: Float[Array, "B h w"], fake: Float[Array, "B h w"]
) -> Float[Array, "B"]:
    """A loss of scores for maps of scores: each patch is an example, averaged over its image."""
    return loss(real.reshape(-1), fake.reshape(-1)).reshape(len(real), -1).mean(-1)


def distance(x: Float[Array, "B H W C"], y: Float[Array, "B H W C"]) -> Float[Array, "B"]:
    """Mean absolute difference per number."""
    return jnp.abs(x - y).mean((1, 2, 3))


def remember(memory: Num[Array, "M ..."], x: Num[Array, "B ..."]) -> Num[Array, "M ..."]:
    """The memory with its oldest rows pushed out by those of x."""
    return jnp.concatenate([jnp.asarray(x, memory.dtype), memory])[: len(memory)]


def first_memory(x: Num[Array, "B ..."]) -> Num[Array, "M ..."]:
    """MEMORY rows, those of x over and over."""
    x = jnp.asarray(x)
    return x[jnp.arange(MEMORY) % len(x)]


def draw_sources(keys: Key[Array, "n"], memory: Num[Array, "M ..."]) -> Num[Array, "n ..."]:
    """A row of the memory for each key, uniformly."""
    return memory[jax.vmap(lambda key: jax.random.randint(key, (), 0, len(memory)))(keys)]


def checked_sources(source: Any, n: int, shape: tuple[int, ...]) -> Array:
    """Sources in data units. Raises ConfigError unless they are n images of this shape."""
    source = jnp.asarray(source)
    if source.shape != (n, *shape):
        raise ConfigError(f"source has shape {source.shape}, must be {(n, *shape)}")
    return source


def init_params(network: Any, name: str, key: Key[Array, ""], *inputs: Array) -> Any:
    """Parameters of a network. Raises ConfigError for one that carries anything else."""
    variables = as_network(name, network).init(key, *inputs)
    if set(variables) != {"params"}:
        raise ConfigError(f"{name} carries {sorted(set(variables) - {'params'})} beside parameters")
    return variables["params"]


def apply(network: Any, params: Any, *inputs: Any) -> Any:
    """The network's output."""
    return network.apply({"params": params}, *inputs)


def scores(x: Array, said: Any) -> Array:
    """A critic's scores of images x. Raises ConfigError unless they are [B] or maps [B, h, w]."""
    size = jnp.shape(said)[1:]
    if len(size) not in (0, 2):
        size = ()
    return check_output("critic", said, (len(x), *size), "scores [B, h, w], here ")


def units(transform: Any) -> tuple[Callable, Callable]:
    """`(encode(key, x), decode(u))` of a transform, or of none."""
    if transform is None:
        return lambda key, x: as_floats("x", x), lambda u: u
    return transform.encode, transform.decode


def report(metrics: dict[str, Array], network: str, params: Any) -> dict[str, Array]:
    """The loss, its adversarial part and the norms of gradient and parameters, by network.

    Args:
      params: after the update: where they are lost, the first of the names that a run stops with is
        this network's, and not that of the other, which meets them next.
    """
    metrics = metrics | {"norm": optax.tree.norm(params)}
    own = {name: f"{network}_{name}" for name in ("loss", "adversarial", "gradient_norm", "norm")}
    return {own.get(name, name): value for name, value in metrics.items()}
