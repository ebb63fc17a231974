"""Exact flow maps against scipy, jumps that keep the law, and straight second flows."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from few_step_truths import average_of, gaussian_map
from scipy.integrate import quad, solve_ivp

from gen_jax.diffusion import STEPPERS, mixture_denoiser, prior, sample_with_info
from gen_jax.errors import ConfigError
from gen_jax.flow_matching import (
    denoiser,
    flow_map,
    jump,
    mixture_flow_map,
    reflow_pairs,
    straightness,
)
from gen_jax.paths import PATHS, GaussianPath, coefficients, linear, velocity, vp

MIXTURE = exact.mixture_2d()


@pytest.mark.parametrize("name", ["linear", "vp", "ve"])
def test_mixture_map_against_scipy(name, x64):
    path = PATHS[name]()
    mixture = exact.Mixture(*(jnp.asarray(a, jnp.float64) for a in MIXTURE))

    @jax.jit
    def slope(t, x):
        alpha, sigma, d_alpha, d_sigma = coefficients(path, t)
        x0, eps = exact.mixture_posterior(mixture, alpha, sigma, x)
        return d_alpha * x0 + d_sigma * eps

    moved = jax.jit(mixture_flow_map(*mixture, path))
    for t, s in ((0.95, 0.1), (0.6, 0.3)):
        x = np.array([0.7, -0.4]) * float(jnp.hypot(path.alpha(t), path.sigma(t)))
        solved = solve_ivp(
            lambda t, x: np.asarray(slope(t, jnp.asarray(x))), (t, s), x, "DOP853",
            rtol=1e-9, atol=1e-9,
        )  # fmt: skip
        found = moved(jnp.asarray(x)[None], jnp.array([t]), jnp.array([s]))[0]
        np.testing.assert_allclose(found, solved.y[:, -1], atol=2e-5)


@pytest.mark.parametrize("name", PATHS)
def test_mixture_map_at_the_ends(name, key):
    """Finite from pure noise to the data; two jumps are one; no time is no move."""
    path = PATHS[name]()
    moved = jax.jit(mixture_flow_map(*MIXTURE, path, steps=128))
    x1 = prior(key, path, (16, 2))
    full = lambda t: jnp.full(16, t)
    there = moved(x1, full(1.0), full(0.0))
    assert bool(jnp.all(jnp.isfinite(there)))
    halfway = moved(x1, full(1.0), full(0.4))
    np.testing.assert_allclose(moved(halfway, full(0.4), full(0.0)), there, atol=2e-3)
    np.testing.assert_allclose(moved(x1, full(1.0), full(1.0)), x1, rtol=1e-5)


def test_denoiser_of_an_average_velocity(key):
    path, denoise = linear(), mixture_denoiser(*MIXTURE, linear())
    average = average_of(mixture_flow_map(*MIXTURE, path), velocity(denoise, path))
    x, t = jax.random.normal(key, (8, 2)), jnp.linspace(0.1, 1, 8)
    np.testing.assert_allclose(denoiser(average, path)(x, t), denoise(x, t), atol=1e-4)
    moved = flow_map(average)(x, t, 0.5 * t)
    np.testing.assert_allclose(moved, mixture_flow_map(*MIXTURE, path)(x, t, 0.5 * t), atol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("name", ["linear", "cosine", "vp", "ve"])
def test_jumps_keep_the_law(name, gamma, key):
    """Data N(0, 0.7^2): after any jump the variance is that of x_s, at the data 0.49."""
    path, n = PATHS[name](), 60_000
    moved = gaussian_map(0.7, path)
    times = jnp.array([1.0, 0.6, 0.25, 0.0])
    start = prior(key, path, (n, 1), data_std=0.7)
    not_called = lambda x, t: 1 / 0
    _, info = sample_with_info(
        key, not_called, path, start, times, jump(moved, gamma), trajectory=True
    )
    assert int(info.calls) == 3
    for x, s in zip(info.trajectory, times[1:]):
        variance = (path.alpha(s) * 0.7) ** 2 + path.sigma(s) ** 2
        score = float(jnp.sum(x**2) / variance - n) / np.sqrt(2 * n)
        # The jump to the data of a path that ends at sigma(0) > 0 keeps that noise.
        assert abs(score) < 5.2, (float(s), score)


def test_maps_of_another_shape_are_refused(key):
    x, t, narrow = jnp.zeros((3, 2)), jnp.full(3, 0.7), lambda x, t, *s: x[:, :1]
    for run in (
        lambda: flow_map(narrow)(x, t, t / 2),
        lambda: denoiser(narrow, linear())(x, t),
        lambda: sample_with_info(key, narrow, linear(), x, jnp.linspace(1, 0, 3), jump(narrow)),
    ):
        with pytest.raises(ConfigError, match=r"returned shape \(3, 1\)"):
            run()


def test_jump_refuses_gamma():
    for gamma in (-0.1, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="gamma"):
            jump(lambda x, t, s: x, gamma)


def test_straightness_of_gaussian_data(x64):
    """x_t = N_t z, so that the integral is z^2 int (1 - std - N_t')^2 dt."""
    std = 0.3
    denoise = mixture_denoiser(
        jnp.ones(1), jnp.zeros((1, 1)), jnp.full((1, 1, 1), std**2), linear()
    )
    z = jnp.array([[0.5], [-1.5], [2.0]])
    found = straightness(denoise, linear(), z, jnp.linspace(1, 0, 401))
    speed = lambda t: (t - (1 - t) * std**2) / np.sqrt((1 - t) ** 2 * std**2 + t**2)
    integral = quad(lambda t: (1 - std - speed(t)) ** 2, 0, 1)[0]
    np.testing.assert_allclose(found, z[:, 0] ** 2 * integral, rtol=1e-3)


def test_the_second_flow_on_the_line_is_straight(x64):
    """In one dimension the flow is monotone: its pairs are joined by lines that do not cross."""
    path = linear()
    mixture = exact.Mixture(*(jnp.asarray(a, jnp.float64) for a in exact.mixture_1d()))
    x1 = jnp.linspace(-6, 6, 2001)
    denoise = mixture_denoiser(*mixture, path)
    first_map = mixture_flow_map(*mixture, path, steps=200)
    x0 = first_map(x1[:, None], jnp.ones(2001), jnp.zeros(2001))[:, 0]

    def second(x, t):
        """E[x0 | x_t] when x0 and x1 are joined by the first flow."""
        one = lambda x, t: jnp.interp(x, (1 - t) * x0 + t * x1, x0)
        return jax.vmap(one)(x[:, 0], t)[:, None]

    start = jnp.array([[-1.3], [-0.2], [0.9]])
    times = jnp.linspace(1, 0, 65)
    assert float(straightness(denoise, path, start, times).min()) > 0.02
    assert float(straightness(second, path, start, times).max()) < 1e-4


def test_reflow_pairs(key):
    path, shape = vp(), (6, 2)
    denoise = mixture_denoiser(*MIXTURE, path)
    times = jnp.linspace(1, 0, 301)
    x0, x1 = reflow_pairs(key, denoise, path, shape, times, STEPPERS["ddim"]())
    exact_map = mixture_flow_map(*MIXTURE, path)
    np.testing.assert_allclose(x0, exact_map(x1, jnp.ones(6), jnp.zeros(6)), atol=0.05)
    with pytest.raises(ConfigError, match="deterministic"):
        reflow_pairs(key, denoise, path, shape, times, STEPPERS["ddpm"]())


@pytest.mark.parametrize("gamma", [0.0, 0.4, 1.0])
def test_jumps_end_at_the_data_where_the_path_scales_them(gamma, key):
    """x_0 of this path is 2 x0; of data that are 3 everywhere every jump ends at 3."""
    path = GaussianPath(lambda t: 2 * (1 - t), lambda t: t)

    def to_three(x, t, s):
        at = lambda u, a: path.alpha(u)[:, None] * a
        noise = (x - at(t, 3.0)) / path.sigma(t)[:, None]
        return at(s, 3.0) + path.sigma(s)[:, None] * noise

    times, x = jnp.array([1.0, 0.6, 0.0]), prior(key, path, (5, 2))
    end, info = sample_with_info(
        key, to_three, path, x, times, jump(to_three, gamma), trajectory=True
    )
    np.testing.assert_allclose(end, 3, rtol=1e-5)
    assert np.abs(info.trajectory[0] - 2 * 0.4 * 3).max() < 0.6 * 5


def test_pairs_start_from_the_noise_of_data_of_any_size(key):
    """vp ends with alpha = 0.0066: of data of deviation 300 x1 has 2.2 and not 1."""
    path, still = vp(), lambda x, t: jnp.zeros_like(x)
    times = jnp.linspace(1, 0, 3)
    x1 = reflow_pairs(key, still, path, (4000, 1), times, STEPPERS["ddim"](), data_std=300.0)[1]
    assert float(x1.std()) == pytest.approx(float(jnp.hypot(1.0, 300 * path.alpha(1.0))), rel=0.06)


def test_straightness_does_not_depend_on_the_width_of_the_times(key):
    """Times of numpy are float64, next to 0 of which a velocity in float32 is rounding alone."""
    denoise = exact.gaussian_denoiser(0.0, 0.5, linear())
    x1, times = jax.random.normal(key, (8, 2)), np.linspace(1, 0, 9)
    of = jax.jit(lambda x1, times: straightness(denoise, linear(), x1, times))
    expected = of(x1, jnp.asarray(times))
    np.testing.assert_allclose(straightness(denoise, linear(), x1, times), expected, rtol=1e-4)
    with jax.enable_x64(True):
        np.testing.assert_allclose(of(x1, jnp.asarray(times)), expected, rtol=1e-2)
    with pytest.raises(ConfigError, match="times must fall"):
        straightness(denoise, linear(), x1, times[::-1])
