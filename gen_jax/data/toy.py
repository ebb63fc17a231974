"""Distributions on the plane, each a pure function of a key.

A set is written for one point, `point(key) -> [2]`; `TOY[name](key, n) -> [n, 2]` gives every point
its own key, so the first m points of a larger draw are the draw of m points. All have means near
zero and standard deviations near one. The two mixtures are also given in closed form.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.randomness import sample_keys
from gen_jax.types import Array, Float, Key

EIGHT_RADIUS, EIGHT_STD = 2.0, 0.1
GRID_STD = 0.05


class MixtureParameters(NamedTuple):
    """weights [K], means [K, 2], covariances [K, 2, 2]."""

    weights: Float[Array, "K"]
    means: Float[Array, "K 2"]
    covariances: Float[Array, "K 2 2"]


def _isotropic(means: np.ndarray, std: float) -> MixtureParameters:
    k = len(means)
    covariances = jnp.tile(jnp.eye(2) * std**2, (k, 1, 1))
    return MixtureParameters(jnp.full((k,), 1 / k), jnp.asarray(means, float), covariances)


def eight_gaussians_mixture() -> MixtureParameters:
    """Eight equal Gaussians, standard deviation 0.1, mode k at radius 2 and angle k pi/4.

    Mean 0; each axis has variance 2^2 / 2 + 0.1^2 = 2.01.
    """
    angle = np.arange(8) * np.pi / 4
    return _isotropic(EIGHT_RADIUS * np.stack([np.cos(angle), np.sin(angle)], -1), EIGHT_STD)


def grid_mixture() -> MixtureParameters:
    """Twenty-five equal Gaussians, standard deviation 0.05, on the grid {-2, ..., 2}^2 (x slowest).

    Mean 0; each axis has variance 2 + 0.05^2 = 2.0025.
    """
    axis = np.arange(-2.0, 3.0)
    return _isotropic(np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(25, 2), GRID_STD)


def _mixture_point(key, mixture: MixtureParameters, std: float):
    key_mode, key_noise = jax.random.split(key)
    mode = jax.random.randint(key_mode, (), 0, mixture.means.shape[0])
    return mixture.means[mode] + std * jax.random.normal(key_noise, (2,))


def _eight_gaussians(key):
    return _mixture_point(key, eight_gaussians_mixture(), EIGHT_STD)


def _grid(key):
    return _mixture_point(key, grid_mixture(), GRID_STD)


def _moons(key):
    """Two interleaved half circles (as in scikit-learn), centred, doubled, noise 0.1."""
    key_angle, key_side, key_noise = jax.random.split(key, 3)
    angle = jnp.pi * jax.random.uniform(key_angle)
    upper = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    lower = jnp.stack([1 - jnp.cos(angle), 0.5 - jnp.sin(angle)])
    arc = jnp.where(jax.random.bernoulli(key_side), upper, lower) - jnp.array([0.5, 0.25])
    return 2 * arc + 0.1 * jax.random.normal(key_noise, (2,))


def _checkerboard(key):
    """Density 1/8 on the unit squares of [-2, 2)^2 with floor(x) + floor(y) even."""
    key_x, key_row, key_y = jax.random.split(key, 3)
    x = jax.random.uniform(key_x, minval=-2.0, maxval=2.0)
    row = 2 * jax.random.randint(key_row, (), -1, 1) + jnp.floor(x) % 2
    return jnp.stack([x, row + jax.random.uniform(key_y)])


def _swiss_roll(key):
    """A spiral r = angle / 7 for angle in [1.5 pi, 4.5 pi], noise 0.1."""
    key_angle, key_noise = jax.random.split(key)
    angle = 1.5 * jnp.pi * (1 + 2 * jax.random.uniform(key_angle))
    curve = angle / 7 * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    return curve + 0.1 * jax.random.normal(key_noise, (2,))


def _pinwheel(key):
    """Five Gaussian arms (radial std 0.3, tangential 0.1) at distance 1, sheared, doubled."""
    key_arm, key_noise = jax.random.split(key)
    arm = jax.random.randint(key_arm, (), 0, 5)
    along, across = jax.random.normal(key_noise, (2,)) * jnp.array([0.3, 0.1]) + jnp.array([1.0, 0])
    angle = 2 * jnp.pi * arm / 5 + 0.25 * jnp.exp(along)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return 2 * jnp.stack([cos * along - sin * across, sin * along + cos * across])


def _rings(key):
    """Four concentric circles of radius 0.6, 1.2, 1.8 and 2.4, equally likely, noise 0.06."""
    key_ring, key_angle, key_noise = jax.random.split(key, 3)
    radius = 0.6 * jax.random.randint(key_ring, (), 1, 5)
    angle = 2 * jnp.pi * jax.random.uniform(key_angle)
    circle = radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    return circle + 0.06 * jax.random.normal(key_noise, (2,))


def _two_spirals(key):
    """Two arms r = angle / 4 of one and a half turns, opposite through 0, noise 0.08."""
    key_angle, key_side, key_noise = jax.random.split(key, 3)
    angle = 3 * jnp.pi * jnp.sqrt(jax.random.uniform(key_angle))
    arm = angle / 4 * jnp.stack([-jnp.cos(angle), jnp.sin(angle)])
    side = jnp.where(jax.random.bernoulli(key_side), 1.0, -1.0)
    return side * arm + 0.08 * jax.random.normal(key_noise, (2,))


def _sampler(point: Callable) -> Callable[[Array, int], Array]:
    def sample(key: Key[Array, "*batch"], n: int) -> Float[Array, "n 2"]:
        return jax.vmap(point)(sample_keys(key, n))

    sample.__doc__ = point.__doc__
    return sample


TOY: dict[str, Callable[[Array, int], Array]] = {
    "8gaussians": _sampler(_eight_gaussians),
    "25grid": _sampler(_grid),
    "moons": _sampler(_moons),
    "checkerboard": _sampler(_checkerboard),
    "swiss_roll": _sampler(_swiss_roll),
    "pinwheel": _sampler(_pinwheel),
    "rings": _sampler(_rings),
    "two_spirals": _sampler(_two_spirals),
}
"""Samplers `(key, n) -> x [n, 2]`; jit with n static."""

DESCRIPTIONS: dict[str, str] = {
    "8gaussians": "eight Gaussians on a circle of radius 2 (standard deviation 0.1)",
    "25grid": "twenty-five Gaussians on a 5 x 5 grid of spacing 1 (standard deviation 0.05)",
    "moons": "two interleaved half circles",
    "checkerboard": "uniform on the black unit squares of a 4 x 4 board",
    "swiss_roll": "one spiral arm",
    "pinwheel": "five curved Gaussian arms",
    "rings": "four concentric circles",
    "two_spirals": "two interleaved spiral arms",
}
