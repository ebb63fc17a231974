"""A generator in the place of a critic, and the other way round."""

import jax
import jax.numpy as jnp
import optax
import pytest

from gen_jax import gan
from gen_jax.errors import ConfigError
from gen_jax.gan_nets import DCGANCritic, DCGANGenerator, MLPCritic, MLPGenerator

ADAM = optax.adam(1e-3)
POINTS = MLPGenerator((2,), (4,)), MLPCritic((4,))
IMAGES = DCGANGenerator((8, 8, 1), (4,)), DCGANCritic((4,))


@pytest.mark.parametrize(
    ("networks", "shape"), [(POINTS, (2,)), (IMAGES, (8, 8, 1))], ids=["points", "images"]
)
def test_swapped_networks_are_named(networks, shape):
    generator, critic = networks
    batch = {"x": jnp.zeros((4, *shape))}
    for pair in ((critic, generator), (critic, critic), (generator, generator)):
        model = gan.gan(*pair, ADAM, ADAM, shape=shape, latent=3)
        with pytest.raises(ConfigError, match="generator|critic"):
            model.init(jax.random.key(0), batch)
