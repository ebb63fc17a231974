"""Frozen arrays in the state: untouched by training, whole in a checkpoint, reached through."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import conditions, diffusion, nets, training, vae
from gen_jax.data import transforms
from gen_jax.errors import ConfigError
from gen_jax.frozen import Given, given, unfrozen
from gen_jax.model import GenerativeModel

KEY = jax.random.key(0)
X = np.asarray(jax.random.normal(KEY, (64, 2))) * np.array([2.0, 0.5])


def scaled(frozen):
    """A model of one number, sampled around what is frozen."""
    return GenerativeModel(
        init=lambda key, batch: {"params": jnp.zeros(())},
        step=lambda key, state, batch: (
            {"params": state["params"] + batch["x"].mean() * frozen["scale"]},
            {"loss": state["params"] ** 2},
        ),
        sample=lambda key, state, n, *, shift=0.0: (
            jnp.full(n, state["params"]) * frozen["scale"] + shift
        ),
        conditions={"shift": "static"},
    )


def test_frozen_arrays_stay_and_the_rest_is_the_models_own():
    frozen = {"scale": jnp.float32(3.0)}
    model = given(frozen, scaled)
    state = training.fit(KEY, model, {"x": X}, steps=2, batch_size=64, progress=False)
    assert isinstance(state, Given)
    np.testing.assert_array_equal(state.frozen["scale"], 3.0)
    np.testing.assert_array_equal(frozen["scale"], 3.0)  # the user's own array is still there
    np.testing.assert_allclose(state.own["params"], 6 * X.mean(), rtol=1e-5)
    np.testing.assert_allclose(model.sample(KEY, state, 3, shift=1.0), 18 * X.mean() + 1, rtol=1e-5)
    assert model.parameters(state) is state.own["params"]
    assert model.conditions == {"shift": "static"}
    other, own = unfrozen(model, state)
    assert other.parts is None
    assert own is state.own


def test_another_frozen_state_needs_no_new_program(compilations):
    model = given({"scale": jnp.float32(3.0)}, scaled)
    state = model.init(KEY, {"x": X})
    model.sample(KEY, state, 3)
    compilations.clear()
    other = state._replace(frozen={"scale": jnp.float32(5.0)}, own={"params": jnp.float32(1.0)})
    np.testing.assert_array_equal(model.sample(KEY, other, 3), np.full(3, 5.0))
    assert not compilations


def test_what_is_no_model_is_refused():
    with pytest.raises(ConfigError, match="make returned"):
        given(jnp.zeros(2), lambda frozen: frozen)
    model = given({"scale": jnp.float32(1.0)}, scaled)
    with pytest.raises(ConfigError, match=r"must be a model of gen_jax\.diffusion"):
        diffusion.denoiser(model, model.init(KEY, {"x": X}))


def latent_diffusion(first, state):
    """Diffusion in the latents of a trained VAE, from public functions alone."""

    def make(state):
        latents = transforms.Transform(
            encode=lambda key, x: vae.encode(first, state, x).moments[0],
            decode=lambda z: vae.decode(first, state, z),
            log_det=lambda z: jnp.zeros(len(z)),
        )
        return diffusion.diffusion(
            nets.MLP((16, 16)),
            "linear",
            optax.adam(3e-3),
            shape=(1,),
            condition=conditions.labels(2),
            transform=latents,
            num_steps=4,
        )

    return given(state, make)


def test_latent_diffusion_in_twenty_lines():
    """A linear first stage x = (2 z, 0): samples lie on its line, on the side of their label."""
    first = vae.vae(
        vae.linear(), vae.linear(), optax.sgd(0.1), shape=(2,), latent=1, likelihood="gaussian"
    )
    y = np.arange(64) % 2
    x = np.stack([np.where(y == 1, 2.0, -2.0) + 0.1 * X[:, 0], np.zeros(64)], 1)
    frozen = first.init(KEY, {"x": x.astype(np.float32)})
    kernels = {"encoder": np.array([[0.5, 0.0], [0.0, 0.0]]), "decoder": np.array([[2.0, 0.0]])}
    for name, kernel in kernels.items():
        frozen.params[name] = {"params": {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(2)}}
    frozen.params["encoder"]["params"]["bias"] = jnp.array([0.0, -8.0])
    model = latent_diffusion(first, frozen)
    data = {"x": x.astype(np.float32), "y": y}
    state = training.fit(KEY, model, data, steps=400, batch_size=64, progress=False)
    drawn = model.sample(KEY, state, 40, label=np.arange(40) % 2, num_steps=16)
    np.testing.assert_allclose(drawn[:, 1], 0, atol=1e-6)
    right = np.sign(drawn[:, 0]) == np.where(np.arange(40) % 2 == 1, 1, -1)
    assert right.mean() > 0.9
    same = jax.tree.map(np.array_equal, state.frozen, frozen)
    assert all(jax.tree.leaves(same))
