"""An equinox network in diffusion, in a VAE and in a GAN, by `nets.from_functions`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import diffusion, gan, nets, vae

ADAM, CODER = optax.adam(1e-2), {"shape": (2,), "latent": 2, "likelihood": "gaussian"}
X = np.random.default_rng(0).normal(size=(16, 2)).astype(np.float32)


class Columns(eqx.Module):
    """An MLP of all inputs side by side; a condition that is None adds nothing."""

    layers: eqx.nn.MLP

    def __init__(self, inputs, outputs, key):
        self.layers = eqx.nn.MLP(inputs, outputs, 8, 1, activation=jnp.tanh, key=key)

    def __call__(self, *inputs):
        rows = [x.reshape(len(x), -1) for x in inputs if x is not None]
        return jax.vmap(self.layers)(jnp.concatenate(rows, 1))


def of_equinox(outputs, number=False):
    """`init` gives the arrays of a module, `apply` puts them back into it."""
    kinds = {}

    def init(key, *inputs):
        module = Columns(sum(x[0].size for x in inputs if x is not None), outputs, key)
        params, kinds["static"] = eqx.partition(module, eqx.is_array)
        return params

    def apply(params, *inputs):
        out = eqx.combine(params, kinds["static"])(*inputs)
        return out[:, 0] if number else out

    return nets.from_functions(init, apply)


MODELS = {
    "diffusion": lambda: diffusion.diffusion(
        of_equinox(2), "linear", ADAM, shape=(2,), num_steps=3, stepper="euler"
    ),
    "vae": lambda: vae.vae(
        of_equinox, of_equinox, ADAM, shape=(2,), latent=2, likelihood="gaussian"
    ),
    "gan": lambda: gan.gan(
        of_equinox(2), of_equinox(1, number=True), ADAM, ADAM, shape=(2,), latent=3
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_an_equinox_network_trains_and_samples(key, name):
    """Every array of the module moves in a step, and what samples keeps its form."""
    model, batch = MODELS[name](), {"x": X}
    state = model.init(key, batch)
    after, metrics = jax.jit(model.step)(key, state, batch)
    assert all(np.isfinite(value) for value in metrics.values())
    before, moved = (jax.tree.leaves(model.parameters(s)) for s in (state, after))
    still = [np.array_equal(a, b) for a, b in zip(before, moved, strict=True) if a.size]
    assert len(still) >= 4 + 4 * (name != "diffusion")
    assert not any(still)
    samples = np.asarray(model.sample(key, after, 5))
    assert samples.shape == (5, 2)
    assert np.isfinite(samples).all()


def test_the_function_is_the_module(key):
    network, x = of_equinox(3), jnp.asarray(X)
    variables = network.init(key, x[:1], None)
    module = Columns(2, 3, key)
    np.testing.assert_array_equal(network.apply(variables, x, None), module(x))
