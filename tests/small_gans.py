"""Small generators and critics, and what the tests of GANs do with them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from gen_jax import gan
from gen_jax.gan_nets import CriticOutput, MLPCritic, MLPGenerator
from gen_jax.gan_nets.spectral import normalised

QUIET = {"batch_size": 24, "progress": False}
ADAM = optax.adam(1e-2, b1=0.5)


class Affine(nn.Module):
    """x = m + exp(s) z: a Gaussian generator."""

    @nn.compact
    def __call__(self, z, condition=None, *, train=False):
        shape = z.shape[1:]
        mean = self.param("mean", nn.initializers.zeros, shape)
        return mean + jnp.exp(self.param("log_std", nn.initializers.zeros, shape)) * z


class Quadratic(nn.Module):
    """Scores a x + b x^2 + c: enough to tell Gaussians apart."""

    @nn.compact
    def __call__(self, x, condition=None, *, train=False):
        features = jnp.concatenate([x, x**2], -1)
        return CriticOutput(
            nn.Dense(1, kernel_init=nn.initializers.zeros)(features)[:, 0], features
        )


class Scores(nn.Module):
    """A critic that returns scores alone."""

    @nn.compact
    def __call__(self, x, condition=None, *, train=False):
        return nn.Dense(1)(x)[:, 0]


class Reconstruction(nn.Module):
    """A critic for "began": the mean absolute error of an autoencoder."""

    @nn.compact
    def __call__(self, x, condition=None, *, train=False):
        code = nn.Dense(1)(x)
        return CriticOutput(jnp.abs(x - nn.Dense(x.shape[-1])(code)).mean(1), code)


class Classifier(nn.Module):
    """Scores, logits of three classes, and a code of 2 categories and a number."""

    @nn.compact
    def __call__(self, x, condition=None, *, train=False):
        h = nn.relu(nn.Dense(16)(x))
        return CriticOutput(nn.Dense(1)(h)[:, 0], h, nn.Dense(3)(h), nn.Dense(3)(h))


class Normalised(nn.Module):
    """A critic with batch normalisation, a spectral norm and dropout."""

    @nn.compact
    def __call__(self, x, condition=None, *, train=False):
        h = nn.BatchNorm(use_running_average=not train, momentum=0.5)(x)
        h = nn.Dropout(0.5)(normalised(nn.Dense(4))(h, train), deterministic=not train)
        return CriticOutput(nn.Dense(1)(h)[:, 0], h)


class Point(nn.Module):
    """The generator of the Dirac-GAN: always its parameter."""

    @nn.compact
    def __call__(self, z, condition=None, *, train=False):
        return jnp.broadcast_to(self.param("x", nn.initializers.ones, (1,)), (len(z), 1))


class Slope(nn.Module):
    """The critic of the Dirac-GAN: w x."""

    @nn.compact
    def __call__(self, x, condition=None, *, train=False):
        return CriticOutput(x[:, 0] * self.param("w", nn.initializers.zeros, (1,)), x)


def make(generator=None, critic=None, rates=(ADAM, ADAM), **options):
    settings = {"shape": (2,), "latent": 3} | options
    networks = generator or MLPGenerator((2,), (8,)), critic or MLPCritic((8,))
    return gan.gan(*networks, *rates, **settings)


def normal_data(n=2000, seed=0):
    return {"x": np.random.default_rng(seed).normal(size=(n, 2)).astype(np.float32)}


def run_steps(model, sampler, key, steps):
    """Init and scan on fresh draws, x or batches; (state, metrics of each step)."""
    batch_of = lambda drawn: drawn if isinstance(drawn, dict) else {"x": drawn}

    def body(state, key):
        key_data, key_step = jax.random.split(key)
        return model.step(key_step, state, batch_of(sampler(key_data)))

    key_init, key_run = jax.random.split(key)
    state = model.init(key_init, batch_of(sampler(key)))
    return jax.lax.scan(body, state, jax.random.split(key_run, steps))


def bits(state):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]
