"""Differentiable augmentation: real and generated images pass the same random changes before the
critic sees them, and the generator's gradient passes back through them (zhao2020).

`AUGMENTATIONS[name](keys [B], x [B, H, W, C]) -> [B, H, W, C]`, images in [-1, 1], each by its own
key. The generator does not learn augmented images, since both kinds are augmented alike.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from gen_jax.errors import check_choice
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.registries import described
from gen_jax.types import Array, Float, Key

Augmentation = Callable[[Key[Array, "B"], Float[Array, "B H W C"]], Float[Array, "B H W C"]]


def _color(key: Key[Array, ""], x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
    """Brightness +-0.5, saturation of 0 to 2, contrast of 0.5 to 1.5, in this order."""
    brightness, saturation, contrast = jax.random.uniform(key, (3,), x.dtype)
    x = x + brightness - 0.5
    grey = x.mean(-1, keepdims=True)
    x = grey + 2 * saturation * (x - grey)
    return x.mean() + (contrast + 0.5) * (x - x.mean())


def _translate(key: Key[Array, ""], x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
    """Moved by up to an eighth of each side, whole pixels; what comes in is -1."""
    height, width, channels = x.shape
    reach = (height + 4) // 8, (width + 4) // 8
    offset = jax.random.randint(key, (2,), 0, 2 * jnp.array(reach) + 1)
    padded = jnp.pad(x, ((reach[0],) * 2, (reach[1],) * 2, (0, 0)), constant_values=-1.0)
    return jax.lax.dynamic_slice(padded, (*offset, 0), (height, width, channels))


def _cutout(key: Key[Array, ""], x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
    """A square of half the side, anywhere and perhaps over the edge, set to 0."""
    height, width = x.shape[:2]
    center = jax.random.uniform(key, (2,)) * jnp.array([height, width])
    near = lambda size, c: jnp.abs(jnp.arange(size) + 0.5 - c) <= size / 4
    hidden = near(height, center[0])[:, None] & near(width, center[1])
    return jnp.where(hidden[..., None], 0, x)


AUGMENTATIONS: dict[str, Augmentation] = {
    "color": described("Brightness, saturation and contrast.", jax.vmap(_color)),
    "translation": described(
        "By up to an eighth of the side, filled with black.", jax.vmap(_translate)
    ),
    "cutout": described("A square of half the side, hidden.", jax.vmap(_cutout)),
}
"""Every augmentation by name."""


def augmentation(names: Sequence[str]) -> Augmentation:
    """Those named, one after the other, each with its own keys; ConfigError for unknown names."""
    chosen = [AUGMENTATIONS[check_choice("augment", name, AUGMENTATIONS)] for name in names]

    def augment(key, x):
        keys = sample_keys(key, len(x))
        for i, change in enumerate(chosen):
            x = change(fold_in(keys, i), x)
        return x

    return augment
