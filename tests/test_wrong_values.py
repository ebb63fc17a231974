"""Values and shapes that a model does not take are refused before it trains."""

import numpy as np
import pytest
from damaged.common import ADAM, MLP, POINTS, B, fit
from damaged.energy import ENERGY, energy_net
from damaged.gan import DCGAN, MAKER, PATCHES, POINT_GAN
from damaged.vae import CODER

from gen_jax import (
    autoregressive,
    classical,
    data,
    diffusion,
    energy,
    flows,
    gan,
    gan_nets,
    vae,
)
from gen_jax.errors import ConfigError, DataError

OUTSIDE = {
    "diffusion": lambda t: diffusion.diffusion(MLP, "linear", ADAM, shape=(2,), transform=t),
    "score_model": lambda t: energy.score_model(energy_net(), ADAM, transform=t, **ENERGY),
    "gan": lambda t: gan.gan(
        gan_nets.MLPGenerator((2,), (4,)),
        gan_nets.MLPCritic((4,)),
        ADAM,
        ADAM,
        transform=t,
        **POINT_GAN,
    ),
    "vae": lambda t: vae.vae(vae.mlp((8,)), vae.mlp((8,)), ADAM, transform=t, **CODER),
    "discrete_vae": lambda t: vae.discrete_vae(
        vae.mlp((8,)), vae.mlp((8,)), ADAM, transform=t, shape=(2,), likelihood="gaussian"
    ),
    "hierarchical_vae": lambda t: vae.hierarchical_vae(
        ADAM, transform=t, shape=(2,), likelihood="gaussian", latents=(2,), width=4
    ),
    "flow": lambda t: flows.flow(flows.actnorm(), ADAM, transform=t, shape=(2,)),
    "ffjord": lambda t: flows.ffjord(ADAM, transform=t, shape=(2,), hidden=(4,), num_steps=1),
    "manifold_flow": lambda t: flows.manifold_flow(
        flows.actnorm(), flows.actnorm(), ADAM, transform=t, shape=(2,), latent=1
    ),
    "made": lambda t: autoregressive.made(
        ADAM, transform=t, shape=(2,), likelihood="gaussian", hidden=(8,)
    ),
    "mixture": lambda t: classical.gaussian_mixture(2, transform=t, shape=(2,)),
    "gaussian_image": lambda t: classical.gaussian_image.gaussian_image(transform=t, shape=(2,)),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_values_that_the_transform_refuses_do_not_train(name):
    """In the first batch; in the last example; behind a first transform that takes them."""
    inside = np.linspace(0.1, 0.9, 8 * B).reshape(4 * B, 2).astype(np.float32)
    late = inside.copy()
    late[-1, 0] = 1.5
    unit = data.to_symmetric()
    for transform, x in ((unit, 255 * inside), (unit, late), (unit, -late)):
        with pytest.raises(DataError, match=r"to_symmetric: data in"):
            fit(OUTSIDE[name](transform), {"x": x})
    shifted = data.chain(data.standardize(0.5, 0.1), unit)
    with pytest.raises(DataError, match=r"to_symmetric: data in"):
        fit(OUTSIDE[name](shifted), {"x": inside})


def test_binary_likelihoods_see_the_values_of_the_first_batch():
    model = vae.vae(vae.mlp((8,)), vae.mlp((8,)), ADAM, shape=(2,), latent=2)
    with pytest.raises(DataError, match="takes 0 and 1"):
        fit(model, POINTS)


@pytest.mark.parametrize("shape", [2, (), (0,), (2.0,), "2", None, (-1, 2)])
def test_shapes_that_are_none(shape):
    makers = [
        lambda: diffusion.diffusion(MLP, "linear", ADAM, shape=shape),
        lambda: energy.nce(energy_net(), ADAM, shape=shape),
        lambda: gan.gan(*DCGAN, ADAM, ADAM, shape=shape, latent=2),
        lambda: gan.pix2pix(MAKER, PATCHES, ADAM, ADAM, shape=shape),
        lambda: vae.vae(vae.mlp((8,)), vae.mlp((8,)), ADAM, shape=shape, latent=2),
        lambda: vae.vqvae(ADAM, shape=shape),
        lambda: vae.hierarchical_vae(ADAM, shape=shape),
        lambda: flows.flow(flows.actnorm(), ADAM, shape=shape),
        lambda: flows.ffjord(ADAM, shape=shape),
        lambda: flows.manifold_flow(flows.actnorm(), flows.actnorm(), ADAM, shape=shape, latent=1),
        lambda: autoregressive.made(ADAM, shape=shape),
        lambda: autoregressive.transformer(ADAM, shape=shape, vocabulary=4),
        lambda: classical.gaussian_mixture(2, shape=shape),
        lambda: classical.gaussian_image.gaussian_image(shape=shape),
        lambda: classical.stationary_field.stationary_field(shape=shape),
    ]
    for make in makers:
        with pytest.raises(ConfigError, match="^shape="):
            make()
