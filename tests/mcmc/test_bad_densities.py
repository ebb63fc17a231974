"""What is refused at the door, and what a chain does when it meets a density that is no number."""

import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import mcmc
from gen_jax.errors import ConfigError

MAKE = {
    "langevin": lambda f: mcmc.langevin(f, 0.3),
    "mala": lambda f: mcmc.mala(f, 0.3),
    "random_walk": lambda f: mcmc.random_walk(f, 0.8),
    "hmc": lambda f: mcmc.hmc(f, 0.5, 2),
    "parallel_tempering": lambda f: mcmc.parallel_tempering(
        f, [1.0, 0.5], lambda f: mcmc.random_walk(f, 0.8)
    ),
}


def gaussian(x):
    return -0.5 * jnp.sum(x**2, 1)


def broken(value):
    """A Gaussian whose density is `value` beyond 1."""
    return lambda x: jnp.where(x[:, 0] > 1, value, gaussian(x))


@pytest.mark.parametrize("name", MAKE)
def test_chains_stay_out_of_bad_regions_and_count_them(name, key):
    """NaN beyond 1, +inf beyond -1; chains that start far from both meet neither."""

    def f(x):
        shift = jnp.where(x[:, 1] > 50, x[:, 1] - 100, x[:, 1])
        value = -0.5 * (x[:, 0] ** 2 + shift**2)
        value = jnp.where((x[:, 0] > 1) & (x[:, 1] < 50), jnp.nan, value)
        return jnp.where((x[:, 0] < -1) & (x[:, 1] < 50), jnp.inf, value)

    x = jnp.zeros((64, 2)).at[32:, 1].set(100)
    samples, info = mcmc.run(key, MAKE[name](f), x, 60)
    near, far = samples[:, :32], samples[:, 32:]
    assert np.isfinite(samples).all()
    assert np.isfinite(info.acceptance).all()
    assert float(jnp.abs(near[..., 0]).max()) <= 1 < float(jnp.abs(far[..., 0]).max())
    assert float(near.std(0).min()) > 0.1
    assert int(info.invalid[:32].min()) > 0 == int(info.invalid[32:].max())


@pytest.mark.parametrize("name", ["langevin", "hmc", "random_walk"])
def test_outside_the_support_is_an_ordinary_rejection(name, key):
    samples, info = mcmc.run(key, MAKE[name](broken(-np.inf)), jnp.zeros((32, 2)), 60)
    assert float(samples[..., 0].max()) <= 1
    assert float(samples.std(0).min()) > 0.1
    assert int(info.invalid.sum()) == 0
    assert float(info.accepted.mean()) < 1


def test_a_gradient_that_is_not_finite_counts(key):
    """The density is fine at 0.5 and beyond, its gradient is not."""
    f = lambda x: gaussian(x) + 0.0 * jnp.sqrt(jnp.maximum(0.5 - x[:, 0], 0))
    samples, info = mcmc.run(key, mcmc.mala(f, 0.3), jnp.zeros((16, 2)), 50)
    assert float(samples[..., 0].max()) < 0.5
    assert int(info.invalid.sum()) > 0
    samples, info = mcmc.run(key, mcmc.random_walk(f, 0.8), jnp.zeros((16, 2)), 50)
    assert float(samples[..., 0].max()) > 0.5
    assert int(info.invalid.sum()) == 0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "NaN or infinite .* at the start of 1 of 3 chains, first at x.1."),
        (np.inf, "NaN or infinite"),
        (-np.inf, "density is 0 at the start of 1 of 3 chains"),
    ],
)
def test_starts_outside_the_support_are_refused(key, value, message):
    x = jnp.zeros((3, 2)).at[1, 0].set(2)
    for name, make in MAKE.items():
        with pytest.raises(ConfigError, match=message):
            make(broken(value)).init(x)
        if name in ("mala", "parallel_tempering"):
            with pytest.raises(ConfigError, match=message):
                mcmc.run(key, make(broken(value)), x, 5)


@pytest.mark.parametrize("name", MAKE)
def test_log_densities_of_the_wrong_shape_are_refused(name, key):
    for wrong in (lambda x: jnp.sum(x**2), lambda x: x**2, lambda x: jnp.ones(len(x), int)):
        with pytest.raises(ConfigError, match=r"one number per point, \((3|6),\)"):
            mcmc.run(key, MAKE[name](wrong), jnp.zeros((3, 2)), 5)


@pytest.mark.parametrize(
    "step_size", [0, -0.1, np.nan, np.inf, np.array([0.1, 0.0]), np.array([[0.1]])]
)
def test_step_sizes_must_be_positive(step_size):
    for make in (mcmc.langevin, mcmc.mala, mcmc.random_walk, lambda f, h: mcmc.hmc(f, h, 2)):
        with pytest.raises(ConfigError, match="step_size="):
            make(gaussian, step_size)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_scales_must_be_positive(scale):
    for make in (mcmc.langevin, mcmc.mala, mcmc.random_walk, lambda *a, **o: mcmc.hmc(*a, 2, **o)):
        with pytest.raises(ConfigError, match="scale="):
            make(gaussian, 0.1, scale=np.array([1.0, scale]))


def test_scales_have_the_form_of_one_chain(key):
    for scale in (jnp.ones(3), jnp.ones((4, 2)), 1.0, (jnp.ones(2),)):
        with pytest.raises(ConfigError, match="scale has shapes"):
            mcmc.run(key, mcmc.random_walk(gaussian, 0.1, scale=scale), jnp.zeros((4, 2)), 5)
    for jitter in (-0.1, 1.1):
        with pytest.raises(ConfigError, match="jitter="):
            mcmc.hmc(gaussian, 0.1, 2, jitter=jitter)


@pytest.mark.parametrize("name", ["langevin", "mala", "random_walk", "hmc"])
def test_step_sizes_are_as_many_as_the_chains(name, key):
    options = {"num_steps": 2} if name == "hmc" else {}
    for size in (np.full(3, 0.1), np.full(1, 0.1)):
        with pytest.raises(ConfigError, match=r"step_size has shape .*allowed: \(\) or \(4,\)"):
            mcmc.run(key, mcmc.KERNELS[name](gaussian, size, **options), jnp.zeros((4, 2)), 5)


def test_a_step_size_per_chain(key):
    """Each chain moves as it would in a run of its own step size."""
    x = jnp.zeros((3, 2))
    together, _ = mcmc.run(key, mcmc.hmc(gaussian, jnp.array([0.1, 0.2, 0.3]), 2), x, 5)
    alone, _ = mcmc.run(key, mcmc.hmc(gaussian, 0.2, 2), x, 5)
    np.testing.assert_allclose(together[:, 1], alone[:, 1], rtol=1e-5)


@pytest.mark.parametrize("levels", [[1.0], [1.0, 1.0], [0.9, 0.5], [1.0, 0.0], [1, 0.2, 0.5], 1.0])
def test_inverse_temperatures_must_fall_from_one(levels):
    with pytest.raises(ConfigError, match="fall from 1 and stay above 0"):
        mcmc.parallel_tempering(gaussian, levels, MAKE["random_walk"])


@pytest.mark.parametrize(
    "x",
    [jnp.zeros((3, 2), int), jnp.zeros(()), jnp.zeros((0, 2)), (jnp.zeros((3, 2)), jnp.zeros(2))],
)
def test_positions_must_be_floating_chains(x):
    with pytest.raises(ConfigError, match="allowed: floating-point arrays"):
        mcmc.random_walk(gaussian, 0.1).init(x)


def test_numbers_of_steps(key):
    kernel, x = mcmc.random_walk(gaussian, 0.1), jnp.zeros((3, 2))
    for options in ({"num_samples": 0}, {"burn_in": -1}, {"thin": 0}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            mcmc.run(key, kernel, x, **{"num_samples": 5, **options})
    with pytest.raises(ConfigError, match="num_steps=0"):
        mcmc.hmc(gaussian, 0.1, 0)
