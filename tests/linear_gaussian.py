"""A VAE with everything in closed form: z ~ N(0, I_2), x = W z + b + s eps in four dimensions.

Its posterior is N(S W^T (x - b) / s^2, S) with S^-1 = I + W^T W / s^2, and
log p(x) = log N(x; b, W W^T + s^2 I). The encoder is a diagonal Gaussian that is off on purpose.
"""

import jax.numpy as jnp
import numpy as np
from scipy import stats

from gen_jax import vae

SCALE = 0.7
W = np.array([[1.0, 0.4], [-0.5, 0.8], [0.3, -0.2], [0.9, 0.6]])
BIAS = np.array([0.2, -0.1, 0.0, 0.5])
X = np.array([1.1, -0.6, 0.4, 1.9])
COVARIANCE = np.linalg.inv(np.eye(2) + W.T @ W / SCALE**2)
LOG_PROB = stats.multivariate_normal.logpdf(X, BIAS, W @ W.T + SCALE**2 * np.eye(4))
Q_MEAN, Q_LOG_STD = np.array([0.9, 0.1]), np.log([0.6, 0.5])
LIKELIHOOD = vae.make_likelihood("gaussian", scale=SCALE)


def exact_mean(x):
    return COVARIANCE @ W.T @ (x - BIAS) / SCALE**2


def copies(n):
    return jnp.broadcast_to(jnp.asarray(X, jnp.float32), (n, 4))


def decode(z):
    return (z @ jnp.asarray(W.T, z.dtype) + jnp.asarray(BIAS, z.dtype))[..., None]


def encode(x, mean=Q_MEAN, log_std=Q_LOG_STD):
    wide = lambda a: jnp.broadcast_to(jnp.asarray(a, x.dtype), (len(x), 2))
    return vae.diagonal_gaussian(wide(mean), wide(log_std))


FUNCTIONS = vae.VAEFunctions(encode, decode, LIKELIHOOD)


def gap():
    """KL(q || p(z | x)) in nats by the Gaussians' formula, in NumPy."""
    precision, variance = np.linalg.inv(COVARIANCE), np.exp(2 * Q_LOG_STD)
    shift = Q_MEAN - exact_mean(X)
    log_ratio = np.log(np.linalg.det(COVARIANCE)) - np.log(variance).sum()
    return 0.5 * (precision.diagonal() @ variance + shift @ precision @ shift - 2 + log_ratio)
