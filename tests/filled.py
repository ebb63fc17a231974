"""Parameters of a layer away from the identity, and points, both in float64 on request."""

import jax
import jax.numpy as jnp


def filled(layer, dim, seed=0, size=1.0, dtype=jnp.float32, extra=0):
    """Parameters of the right shapes with entries of size about `size` after each map."""
    sizes = (extra,) if extra else ()
    shapes = jax.eval_shape(lambda key: layer.init(key, dim, *sizes), jax.random.key(0))
    leaves, tree = jax.tree.flatten(shapes)
    keys = jax.random.split(jax.random.key(seed), max(len(leaves), 1))
    scale = lambda leaf: size / leaf.shape[-2] ** 0.5 if len(leaf.shape) > 1 else size
    drawn = [scale(p) * jax.random.normal(k, p.shape, dtype) for k, p in zip(keys, leaves)]
    return jax.tree.unflatten(tree, drawn)
