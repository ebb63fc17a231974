"""What a newcomer types wrong: one line that says what to type instead."""

import jax
import numpy as np
import optax
import pytest

from gen_jax import conditions, data, diffusion, flows, gan, nets
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
