"""Energy networks: their convolution by slices, examples apart, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.errors import ConfigError
from gen_jax.nets import EnergyNet
from gen_jax.nets.energy_net import patches


@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_patches_and_a_matrix_are_a_strided_convolution(size):
    """Against XLA's convolution, stride 2, a border of zeros."""
    key_x, key_w = jax.random.split(jax.random.key(0))
    x = jax.random.normal(key_x, (2, *size, 3))
    w = jax.random.normal(key_w, (3, 3, 3, 4))
    wanted = jax.lax.conv_general_dilated(
        x, w, (2, 2), [(1, 1)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    found = patches(x) @ w.reshape(27, 4)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("outputs", [0, 3])
def test_examples_stay_apart(outputs):
    network = EnergyNet(features=(8,), channels=(4, 4), outputs=outputs, spectral=1.5)
    x = jax.random.normal(jax.random.key(1), (3, 8, 8, 1))
    variables = network.init(jax.random.key(2), x)
    whole = network.apply(variables, x)
    assert whole.shape == ((3, outputs) if outputs else (3,))
    np.testing.assert_allclose(network.apply(variables, x[1:2])[0], whole[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"features": (0,)}, "features"),
        ({"outputs": -1}, "outputs"),
        ({"spectral": -1}, "spectral"),
    ],
)
def test_refusals(options, word):
    with pytest.raises(ConfigError, match=word):
        EnergyNet(**options)
    with pytest.raises(ConfigError, match="image"):
        EnergyNet(channels=(4,)).init(jax.random.key(0), jnp.zeros((2, 5)))
