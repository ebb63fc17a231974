"""Posterior collapse: where it happens, the monitor that shows it, the remedy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax import vae

DIM = 2


def trained(key, **options):
    """Active units, KL per dimension and mean squared error after training on a plane in R^4."""
    z = jax.random.normal(jax.random.key(5), (256, 2))
    x = z @ jnp.array([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, -1.0]])
    # A decoder whose noise is louder than the data: nothing is worth encoding.
    law = vae.make_likelihood("gaussian", scale=2.0)
    own = {"shape": (4,), "latent": DIM, "likelihood": law, **options}
    network = vae.mlp((16,))
    model = vae.vae(network, network, optax.adam(1e-2), **own)

    @jax.jit
    def run(key):
        state = model.init(key, {"x": x})
        step = lambda state, key: model.step(key, state, {"x": x})
        return jax.lax.scan(step, state, jax.random.split(key, 800))[0]

    functions = vae.functions(model, run(key))
    mean, log_std = functions.encode(x).moments
    active, _ = vae.active_units(mean)
    kl = (0.5 * (mean**2 + jnp.exp(2 * log_std) - 1) - log_std).mean(0)
    error = np.mean((np.asarray(functions.decode(mean))[..., 0] - np.asarray(x)) ** 2)
    return int(active), np.asarray(kl), error


def test_free_bits_mend_a_collapse_that_the_monitor_shows(key):
    active, kl, error = trained(key)
    assert (active, kl.max() < 0.05) == (0, True)
    assert error > 0.8  # of a variance of 1
    active, kl, mended = trained(key, free_bits=1.0)
    assert active == DIM
    assert kl.min() > 0.7
    assert mended < 0.5 * error
