"""A model whose samples show what was given."""

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.conditions import labels
from gen_jax.errors import ConfigError, DataError
from gen_jax.model import GenerativeModel, compiled
from gen_jax.randomness import normal, sample_keys


def prompts(value, n):
    """Rows [n, 3] of one prompt [3] or n of them."""
    if np.shape(value) not in ((3,), (n, 3)):
        raise ConfigError(f"prompt of shape {np.shape(value)}")
    return jnp.broadcast_to(jnp.asarray(value), (n, 3))


def toy(count=None, classes=10):
    """A model whose sample shows its key, its label and the scale it was given."""

    def sample(key, state, n, *, label=None, scale=1.0, name="none", prompt=None, table=None):
        """Toy samples."""
        if count is not None:
            count.append(n)
        z = scale * state * normal(sample_keys(key, n), (2,))
        z = z if label is None else z + 10 * jnp.broadcast_to(label, (n,))[:, None]
        z = z if prompt is None else z + prompts(prompt, n).sum(1, keepdims=True)
        z = z if table is None else z + table.sum()
        return z if name == "none" else -z

    def log_prob(key, state, x, label=None):
        if count is not None:
            count.append(len(x))
        return -jnp.sum(x**2, -1) + (0 if label is None else label)

    def encode(key, x):
        if not isinstance(x, jax.core.Tracer) and x.max() > 5:
            raise DataError(f"data up to {x.max()} (allowed: 5)")

    return compiled(
        GenerativeModel(lambda key, batch: jnp.ones(()), None, sample, log_prob, "exact"),
        per_sample={"label": labels(classes).checked, "prompt": prompts},
        shared=("table",),
        encode=encode,
    )
