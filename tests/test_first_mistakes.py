"""What a newcomer types wrong: one line that says what to type instead."""

import jax
import numpy as np
import optax
import pytest
from flax import linen as nn

from gen_jax import conditions, data, diffusion, flows, gan, nets, vae
from gen_jax.errors import ConfigError, DataError
from gen_jax.model import GenerativeModel

KEY, ADAM = jax.random.key(0), optax.adam(1e-3)
POINTS = np.zeros((8, 2), np.float32)


def points_model(network=None):
    return diffusion.diffusion(network or nets.MLP((4,)), "cosine", ADAM, shape=(2,))


def test_parameters_in_place_of_the_state():
    model = points_model()
    state = model.init(KEY, {"x": POINTS})
    sample = lambda key, state, n: state.ema
    model = GenerativeModel(model.init, model.step, sample)  # without the types of the tests
    with pytest.raises(ConfigError, match="must be the whole state that init returns"):
        model.sample(KEY, state.params, 2)


def test_a_missing_key():
    model = points_model()
    with pytest.raises(ConfigError, match=r"missing .* it is sample\(key, state, n, \.\.\.\)"):
        model.sample(model.init(KEY, {"x": POINTS}), 4)


def test_a_class_in_place_of_a_network():
    with pytest.raises(ConfigError, match=r"network=MLP is a class: give MLP\(\.\.\.\)"):
        points_model(nets.MLP)


def test_images_of_floats():
    with pytest.raises(DataError, match="symmetric_images .* float32 .*uint8"):
        data.symmetric_images().encode(KEY, np.zeros((2, 4, 4, 1), np.float32))


def test_a_flow_of_vectors_on_images():
    model = flows.flow(flows.coupling(flows.affine()), ADAM, shape=(4, 4, 1))
    with pytest.raises(ConfigError, match=r"vectors \[B, D\] .*flows.glow"):
        model.init(KEY, {"x": np.zeros((2, 4, 4, 1), np.float32)})


@pytest.mark.parametrize(
    "layer",
    [
        flows.masked_autoregressive(flows.affine()),
        flows.planar(),
        flows.radial(),
        flows.reverse(),
        flows.free(flows.affine()),
    ],
)
def test_every_layer_of_vectors_on_images(layer):
    with pytest.raises(ConfigError, match=r"vectors \[B, D\] .*flows.glow"):
        flows.flow(layer, ADAM, shape=(4, 4, 1)).init(KEY, {"x": np.zeros((2, 4, 4, 1))})


def test_a_missing_key_of_init_and_step():
    model = points_model()
    with pytest.raises(ConfigError, match=r"key=.* it is init\(key, batch\)"):
        model.init({"x": POINTS})
    with pytest.raises(ConfigError, match=r"key=.* it is step\(key, state, batch\)"):
        model.step(model.init(KEY, {"x": POINTS}), {"x": POINTS})


@pytest.mark.parametrize(
    ("option", "function", "form"),
    [
        ("weighting", lambda t: t, "coefficients, prediction, data_std"),
        ("time_density", lambda key: key, "key, path, n"),
        ("noise_input", lambda t: t, "path, t"),
        ("source", lambda: 0, "key"),
        ("coupling", lambda x0, x1: x0, "key, x0, x1"),
    ],
)
def test_a_function_of_other_arguments(option, function, form):
    with pytest.raises(ConfigError, match=rf"{option} must be a function of \({form}\)"):
        diffusion.diffusion(nets.MLP((4,)), "cosine", ADAM, shape=(2,), **{option: function})


class WithoutCondition(nn.Module):
    @nn.compact
    def __call__(self, x, noise):
        return nn.Dense(2)(x)


@pytest.mark.parametrize("condition", [None, conditions.labels(3)])
def test_a_network_without_a_condition(condition):
    with pytest.raises(ConfigError, match=r"network must be a function of .*noise, condition\)"):
        diffusion.diffusion(WithoutCondition(), "cosine", ADAM, shape=(2,), condition=condition)


def test_a_module_in_place_of_a_factory():
    match = r"encoder=a Dense must be a function of the number of outputs.*vae.mlp"
    with pytest.raises(ConfigError, match=match):
        vae.vae(nn.Dense(4), vae.mlp((4,)), ADAM, shape=(2,), latent=2)


def test_a_convolutional_coder_with_a_condition():
    encoder, decoder, latent = vae.convolutional((8, 8, 1), 1, 1, 4)
    options = {"shape": (8, 8, 1), "latent": latent, "condition": conditions.labels(3)}
    with pytest.raises(ConfigError, match="encoder takes no condition: use vae.mlp"):
        vae.vae(encoder, decoder, ADAM, **options)


def test_a_gan_that_does_not_use_its_condition():
    with pytest.raises(ConfigError, match="choose conditional from: concat, projection, ac"):
        gan.gan(
            nets.MLP((4,)),
            nets.MLP((4,)),
            ADAM,
            ADAM,
            shape=(2,),
            latent=2,
            condition=conditions.labels(3),
        )
