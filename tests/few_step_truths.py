"""Flow maps known in closed form: of one data point, and of Gaussian data, on any path."""

import jax
import jax.numpy as jnp

from gen_jax.axes import expand


def average_of(moved, velocity):
    """U(x, t, s) of a map X(x, t, s), with the velocity u(x, t) where s = t."""

    def average(x, t, s):
        same = expand(t == s, x)
        step = jnp.where(same, 1.0, expand(s - t, x))
        return jnp.where(same, velocity(x, t), (moved(x, t, s) - x) / step)

    return average


def of_one_point(point, path):
    """Average velocity when all data are `point`: eps = (x - alpha point) / sigma is kept."""
    d_sigma = lambda t: jax.vmap(jax.grad(path.sigma))(t)
    d_alpha = lambda t: jax.vmap(jax.grad(path.alpha))(t)

    def eps(x, t):
        sigma = path.sigma(t)
        safe = jnp.where(sigma > 0, sigma, 1)  # at the data eps is not determined
        return (x - expand(path.alpha(t), x) * point) / expand(safe, x)

    def moved(x, t, s):
        return expand(path.alpha(s), x) * point + expand(path.sigma(s), x) * eps(x, t)

    def velocity(x, t):
        return expand(d_alpha(t), x) * point + expand(d_sigma(t), x) * eps(x, t)

    return average_of(moved, velocity)


def gaussian_map(std, path):
    """X(x, t, s) = x N_s / N_t for data N(0, std^2): N_t is the standard deviation of x_t."""
    spread = lambda t: jnp.sqrt((path.alpha(t) * std) ** 2 + path.sigma(t) ** 2)
    return lambda x, t, s: x * expand(spread(s) / spread(t), x)
