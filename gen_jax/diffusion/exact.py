"""Closed-form denoisers: the ground truth for networks, samplers and likelihoods.

For x0 ~ sum_k w_k N(mu_k, Sigma_k) and x = a x0 + s eps, the posterior mean given component k is
mu_k + a Sigma_k (a^2 Sigma_k + s^2 I)^-1 (x - a mu_k), and the components are weighted by their
posterior probabilities. A finite dataset is the case of equal weights and zero covariances
(karras2022, app. B.3).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax.annotations import floats
from gen_jax.calls import called, calls_inside
from gen_jax.paths import GaussianPath
from gen_jax.types import Array, Denoiser, Float


def mixture_means(
    weights: Float[Array, "K"],
    means: Float[Array, "K D"],
    covariances: Float[Array, "K D D"],
) -> Callable[[Array, Array, Array], tuple[Array, Array]]:
    """`(x [D], a [], s []) -> E[x0 | x], E[eps | x]` for x = a x0 + s eps, each by conditioning.

    So both are finite at s = 0 and a = 0. Covariances are diagonalised once, so that no linear
    system is solved inside a sampler's loop.
    """
    variances, axes = jnp.linalg.eigh(covariances)

    def posterior(x, a, s):
        residual = jnp.einsum("kde,kd->ke", axes, x - a * means)
        # A component without width is a point at s = 0, where its density is infinite.
        marginal = a**2 * variances + s**2
        marginal = jnp.maximum(marginal, jnp.finfo(marginal.dtype).eps ** 4)
        log_weights = jnp.log(weights) - 0.5 * jnp.sum(
            residual**2 / marginal + jnp.log(marginal), axis=-1
        )
        share = jax.nn.softmax(log_weights)
        white = residual / marginal
        shift = jnp.einsum("kde,ke->kd", axes, a * variances * white)
        noise = jnp.einsum("kde,ke->kd", axes, s * white)
        return share @ (means + shift), share @ noise

    return posterior


@floats(weights="K", means="K D", covariances="K D D")
def mixture_denoiser(
    weights: Float[Array, "K"],
    means: Float[Array, "K D"],
    covariances: Float[Array, "K D D"],
    path: GaussianPath,
) -> Denoiser:
    """E[x0 | x_t = x] for a Gaussian mixture, exact: `denoise(x [B, D], t [B] or [])`.

    Raises ConfigError when the shapes do not belong together.
    """
    posterior = mixture_means(weights, means, covariances)

    def denoise(x, t):
        t = jnp.broadcast_to(t, x.shape[:1])
        one = lambda x, t: posterior(x, path.alpha(t), path.sigma(t))[0]
        return called(jax.vmap(one)(x, t))

    return calls_inside(denoise)


@floats(data="...")
def empirical_denoiser(data: Float[Array, "N ..."], path: GaussianPath) -> Denoiser:
    """E[x0 | x_t = x] when x0 is one of the N data points with equal probability.

    A sampler run with it returns training points: the marginal field of I2 that a network with
    unlimited capacity would learn, and the picture of what memorising means.
    """

    def denoise_one(x, t):
        a, s = path.alpha(t), path.sigma(t)
        square = jnp.sum((x - a * data) ** 2, axis=tuple(range(1, data.ndim)))
        # At s = 0 the nearest point alone is left.
        variance = jnp.maximum(s**2, jnp.finfo(square.dtype).tiny)
        share = jax.nn.softmax(-0.5 * (square - square.min()) / variance)
        return jnp.tensordot(share, data, axes=1)

    def denoise(x, t):
        return called(jax.vmap(denoise_one)(x, jnp.broadcast_to(t, x.shape[:1])))

    return calls_inside(denoise)
