"""What a newcomer types wrong: one line that says what to type instead."""

import jax
import numpy as np
import optax
import pytest
from flax import linen as nn

from gen_jax import conditions, data, diffusion, energy, flows, gan, nets, paths, vae
from gen_jax.errors import ConfigError, DataError, shown
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


WHOLE = {"x": np.zeros((8, 2), np.uint8)}
OF_REALS = {
    "gan": lambda: gan.gan(
        nets.MLP((4,)), nets.MLP((4,)), ADAM, ADAM, shape=(2,), latent=2, transform=None
    ),
    "flow": lambda: flows.flow(flows.free(flows.affine()), ADAM, shape=(2,)),
    "ffjord": lambda: flows.ffjord(ADAM, shape=(2,)),
    "manifold_flow": lambda: flows.manifold_flow(
        flows.free(flows.affine()), flows.free(flows.affine()), ADAM, shape=(2,), latent=1
    ),
}


@pytest.mark.parametrize("name", OF_REALS)
def test_levels_without_a_transform(name):
    give = "symmetric_images" if name == "gan" else "dequantize"
    with pytest.raises(ConfigError, match=f"x is uint8 and there is no transform.*{give}"):
        OF_REALS[name]().init(KEY, WHOLE)


@pytest.mark.parametrize("network", [None, "mlp", lambda x: x])
def test_what_is_no_network(network):
    match = r"network=.* has no init and apply: give .*from_nnx\(build\) or nets.from_functions"
    for make in (
        lambda: diffusion.diffusion(network, "cosine", ADAM, shape=(2,)),
        lambda: energy.score_model(network, ADAM, shape=(2,)),
        lambda: diffusion.noisy_classifier(network, None, ADAM, shape=(2,), num_classes=2),
    ):
        with pytest.raises(ConfigError, match=match):
            make()


class Drops(nn.Module):
    """Dropout, or batch statistics."""

    normalised: bool = False

    @nn.compact
    def __call__(self, x, noise, condition=None):
        h = nn.Dense(2)(x)
        if self.normalised:
            return nn.BatchNorm(use_running_average=False)(h)
        return nn.Dropout(0.5, deterministic=False)(h)


@pytest.mark.parametrize("normalised", [True, False])
def test_a_network_with_dropout_or_batch_normalisation(normalised):
    model, batch = points_model(Drops(normalised)), {"x": POINTS}
    with pytest.raises(ConfigError, match="dropout or batch normalisation, which this model does"):
        model.step(KEY, model.init(KEY, batch), batch)


def test_a_model_with_labels_on_data_without_them():
    model = diffusion.diffusion(
        nets.MLP((4,)), "cosine", ADAM, shape=(2,), condition=conditions.labels(3)
    )
    match = r"condition=labels\(3\), but the data has no labels 'y' \(it has: 'x', 'labels'\)"
    with pytest.raises(ConfigError, match=match):
        model.init(KEY, {"x": POINTS, "labels": np.zeros(8, int)})


def test_a_number_of_classes_in_place_of_a_condition():
    with pytest.raises(ConfigError, match=r"give condition=conditions.labels\(3\)"):
        diffusion.diffusion(nets.MLP((4,)), "cosine", ADAM, shape=(2,), num_classes=3)


def test_images_with_channels_first():
    model = diffusion.diffusion(
        nets.MLP((4,)), "cosine", ADAM, shape=(4, 4, 3), transform=data.symmetric_images()
    )
    match = r"\(3, 4, 4\) does not fit shape=\(4, 4, 3\), that of one example \(H, W, C"
    with pytest.raises(ConfigError, match=match):
        model.init(KEY, {"x": np.zeros((2, 3, 4, 4), np.uint8)})


def test_images_of_several_sizes():
    rows = [np.zeros((4, 4, 3)), np.zeros((5, 4, 3))]
    with pytest.raises(DataError, match="its rows differ in shape"):
        points_model().init(KEY, {"x": rows})


def test_grey_levels_for_the_default_likelihood_of_a_vae():
    model = vae.vae(vae.mlp((4,)), vae.mlp((4,)), ADAM, shape=(2,), latent=2)
    match = "choose likelihood from: categorical, discretized_logistic, .*; or another transform"
    with pytest.raises(ConfigError, match=match):
        model.init(KEY, WHOLE)


def test_what_was_given_is_said_in_few_words():
    """A constructor that was not called has its name; large tuples are no wall of numbers."""
    with pytest.raises(ConfigError, match="path=the function cosine must be a GaussianPath"):
        diffusion.diffusion(nets.MLP((4,)), paths.cosine, ADAM, shape=(2,))
    assert shown(nets.MLP) == "the class MLP"
    assert shown(lambda x: x) == "a function"
    assert shown((2, 3)) == "(2, 3)"
    assert shown((np.zeros((9, 9)), np.zeros((9, 9)))) == "a tuple of 2"
