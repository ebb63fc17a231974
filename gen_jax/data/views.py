"""Random views of an image: turned, moved and lit anew, as another look at the same thing."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates

from gen_jax.checks import as_array, as_key, no_type_check
from gen_jax.errors import ConfigError, check_finite, check_range
from gen_jax.types import Array, Float, Key


@no_type_check
def turned(x: Float[Array, "H W C"], angle: Array, shift: Float[Array, "2"]) -> Array:
    """The image turned about its centre by `angle` (radians), then moved by `shift` pixels.

    Between pixels linear; outside black (-1), in [-1, 1]. Raises ConfigError or DataError for what
    is no image [H, W, C], angle [] or shift [2].
    """
    x, angle, shift = as_array("x", x), as_array("angle", angle), as_array("shift", shift)
    for name, value, axes in (("x", x, 3), ("angle", angle, 0), ("shift", shift, 1)):
        if np.ndim(value) != axes or (axes == 1 and value.shape != (2,)):
            allowed = {3: "[H, W, C]", 0: "[]", 1: "[2]"}[axes]
            raise ConfigError(f"{name} has shape {list(np.shape(value))}, must be {allowed}")
    height, width = x.shape[:2]
    centre = jnp.array([(height - 1) / 2, (width - 1) / 2])
    grid = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij"))
    offset = grid - centre[:, None, None] - shift[:, None, None]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    rows = centre[0] + cos * offset[0] - sin * offset[1]
    columns = centre[1] + sin * offset[0] + cos * offset[1]
    look = lambda plane: map_coordinates(plane, [rows, columns], order=1, cval=-1.0)
    return jnp.moveaxis(jax.vmap(look)(jnp.moveaxis(x, -1, 0)), 0, -1)


@no_type_check
def random_view(
    key: Key[Array, ""], x: Float[Array, "H W C"], degrees: float, shift: float, contrast: float
) -> Float[Array, "H W C"]:
    """Turned by up to `degrees`, moved by up to `shift` pixels, contrast 1 - contrast .. 1."""
    key = as_key("key", key)
    check_range("degrees", degrees, 0, 180)
    check_range("shift", check_finite("shift", shift), 0)
    check_range("contrast", contrast, 0, 1)
    key_angle, key_shift, key_light = jax.random.split(key, 3)
    angle = jnp.deg2rad(degrees) * jax.random.uniform(key_angle, minval=-1.0)
    moved = shift * jax.random.uniform(key_shift, (2,), minval=-1.0)
    light = 1 - contrast * jax.random.uniform(key_light)
    return light * (turned(x, angle, moved) + 1) - 1
