"""What a network sees of the time: values, and derivatives up to both ends."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import diffusion, paths
from gen_jax.errors import ConfigError

ENDS = jnp.array([0.0, 1e-30, 1e-7, 0.3, 0.7, 1 - 2.0**-24, 1.0])


@pytest.mark.parametrize("path", paths.PATHS)
@pytest.mark.parametrize("name", diffusion.NOISE_INPUTS)
def test_values_and_derivatives_are_finite_up_to_both_ends(name, path):
    path = paths.PATHS[path]()
    value, slope = jax.jvp(
        lambda t: diffusion.NOISE_INPUTS[name](path, t), (ENDS,), (jnp.ones_like(ENDS),)
    )
    assert np.isfinite(value).all()
    assert np.isfinite(slope).all()
    assert (np.diff(value) >= 0).all()


def test_the_angle_is_the_cosine_paths_own_time():
    value, slope = jax.jvp(
        lambda t: diffusion.noise_angle(paths.cosine(), t), (ENDS,), (jnp.ones_like(ENDS),)
    )
    np.testing.assert_allclose(value, ENDS, atol=1e-6)
    np.testing.assert_allclose(slope, 1.0, atol=1e-6)


@pytest.mark.parametrize("name", ["linear", "sub_vp", "ve", "edm"])
def test_the_angles_slope_is_that_of_small_differences(x64, name):
    """One-sided at the ends; the angle's tangent is sigma / alpha."""
    path, h = paths.PATHS[name](), 1e-6
    t = jnp.array([0.0, 0.4, 1.0 - h])
    angle = lambda t: diffusion.noise_angle(path, t)
    np.testing.assert_allclose(jnp.tan(jnp.pi / 2 * angle(t)), path.sigma(t) / path.alpha(t))
    slope = jax.jvp(angle, (t + h / 2,), (jnp.ones_like(t),))[1]
    np.testing.assert_allclose((angle(t + h) - angle(t)) / h, slope, rtol=1e-5)
    assert slope.max() < 10


def test_the_logarithm_is_clipped_log_level():
    path = paths.linear()
    t = jnp.array([0.0, 1e-6, 1e-3, 0.5, 0.9, 1 - 1e-6, 1.0])
    level = np.log(np.float64(t) / np.maximum(1 - np.float64(t), 1e-300) + 1e-300)
    np.testing.assert_allclose(
        diffusion.noise_input(path, t), np.clip(level, -10, 10) / 4, atol=1e-6
    )


def test_a_model_sees_the_input_of_its_options(key):
    seen = []

    class Network:
        def init(self, key, x, noise, label):
            return {"w": jnp.zeros(())}

        def apply(self, params, x, noise, label):
            seen.append(noise)
            return x

    make = lambda **o: diffusion.diffusion(
        Network(), "cosine", optax.sgd(0.1), shape=(1,), num_steps=2, stepper="euler", **o
    )
    model = make(noise_input="angle")
    state = model.init(key, {"x": jnp.zeros((4, 1))})
    with jax.disable_jit():
        model.sample(key, state, 1)
    np.testing.assert_allclose(seen[0], 1.0, atol=1e-6)
    with pytest.raises(ConfigError, match="noise_input='angel' is unknown; did you mean 'angle'"):
        make(noise_input="angel")
    own = make(noise_input=lambda path, t: 0 * t - 7)
    own.step(key, own.init(key, {"x": jnp.zeros((4, 1))}), {"x": jnp.zeros((4, 1))})
    np.testing.assert_allclose(jnp.asarray(seen[-1]).shape, (4,))
