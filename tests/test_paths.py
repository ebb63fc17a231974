"""Every path against truths that do not use its formulas, in float64."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import paths
from gen_jax.errors import ConfigError

TIMES = np.array([0.15337, 0.32141, 0.50037, 0.77723, 0.91249])  # off the schedules' grid points
DATA_STD = 0.8


def beta(t, low=0.1, high=20.0):
    return low + t * (high - low)


def vp_alpha(t):
    return np.exp(-0.5 * (0.1 * t + 9.95 * t**2))


def edm_sigma(t, low=0.002, high=80.0):
    return (low ** (1 / 7) + t * (high ** (1 / 7) - low ** (1 / 7))) ** 7


def ddpm_beta(t, betas):
    return np.asarray(betas)[np.floor(t * len(betas)).astype(int)]


# alpha and sigma, and the noising SDE's f and g^2, written from the papers.
ALPHA_SIGMA = {
    "linear": lambda t: (1 - t, t),
    "cosine": lambda t: (np.cos(np.pi * t / 2), np.sin(np.pi * t / 2)),
    "vp": lambda t: (vp_alpha(t), np.sqrt(1 - vp_alpha(t) ** 2)),
    "sub_vp": lambda t: (vp_alpha(t), 1 - vp_alpha(t) ** 2),
    "ve": lambda t: (1 + 0 * t, 0.01 * 5000**t),
    "edm": lambda t: (1 + 0 * t, edm_sigma(t)),
}
F_G2 = {
    "linear": lambda t: (-1 / (1 - t), 2 * t / (1 - t)),
    "cosine": lambda t: (-np.pi / 2 * np.tan(np.pi * t / 2), np.pi * np.tan(np.pi * t / 2)),
    "vp": lambda t: (-beta(t) / 2, beta(t)),
    "sub_vp": lambda t: (-beta(t) / 2, beta(t) * (1 - vp_alpha(t) ** 4)),
    "ve": lambda t: (0 * t, 2 * np.log(5000) * (0.01 * 5000**t) ** 2),
    "edm": lambda t: (
        0 * t,
        14 * edm_sigma(t) ** (13 / 7) * (80 ** (1 / 7) - 0.002 ** (1 / 7)),
    ),
    # Between grid points log alpha^2 is linear, so alpha' / alpha = T log(1 - beta) / 2.
    "ddpm": lambda t: _ddpm_f_g2(t, paths.linear_betas()),
    "ddpm_cosine": lambda t: _ddpm_f_g2(t, paths.cosine_betas()),
}


def _ddpm_f_g2(t, betas):
    f = 0.5 * len(betas) * np.log(1 - ddpm_beta(t, betas))
    return f, -2 * f


def assert_close(value, target, tolerance):
    """Absolute and relative: |value - target| <= tolerance (1 + |target|)."""
    np.testing.assert_allclose(value, target, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", paths.PATHS)
def test_derivatives_agree_with_finite_differences(x64, name):
    path, d = paths.PATHS[name](), 1e-5
    t = jnp.array(TIMES)
    c = paths.coefficients(path, t)
    pairs = ((path.alpha, c.alpha, c.d_alpha), (path.sigma, c.sigma, c.d_sigma))
    for function, value, slope in pairs:
        np.testing.assert_array_equal(value, function(t))
        difference = (function(t + d) - function(t - d)) / (2 * d)
        np.testing.assert_allclose(slope, difference, rtol=1e-7, atol=1e-7)
    assert all(part.shape == () for part in paths.coefficients(path, jnp.array(0.3)))


@pytest.mark.parametrize("name", ALPHA_SIGMA)
def test_alpha_and_sigma_are_the_papers(x64, name):
    t = np.linspace(0.05, 0.95, 19)
    path = paths.PATHS[name]()
    alpha, sigma = ALPHA_SIGMA[name](t)
    np.testing.assert_allclose(path.alpha(jnp.array(t)), alpha, rtol=1e-12)
    np.testing.assert_allclose(path.sigma(jnp.array(t)), sigma, rtol=1e-12)


@pytest.mark.parametrize("name", paths.PATHS)
def test_signal_to_noise_falls_with_time(x64, name):
    value = paths.log_snr(paths.PATHS[name](), jnp.linspace(0.001, 0.999, 500))
    assert jnp.isfinite(value).all()
    assert (jnp.diff(value) < 0).all()


@pytest.mark.parametrize("name", paths.PATHS)
def test_sde_has_the_closed_form(x64, name):
    f, g = paths.sde(paths.PATHS[name](), jnp.array(TIMES))
    f_exact, g2_exact = F_G2[name](TIMES)
    np.testing.assert_allclose(f, f_exact, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(g**2, g2_exact, rtol=1e-9)


@pytest.mark.parametrize("name", paths.PATHS)
def test_sde_keeps_the_moments(x64, name):
    # Of dX = f X dt + g dB: mean' = f mean and variance' = 2 f variance + g^2.
    path, t, d = paths.PATHS[name](), jnp.array(TIMES), 1e-5
    f, g = paths.sde(path, t)
    mean = lambda t: 1.3 * path.alpha(t)
    variance = lambda t: path.alpha(t) ** 2 * 0.7 + path.sigma(t) ** 2
    slope = lambda moment: (moment(t + d) - moment(t - d)) / (2 * d)
    np.testing.assert_allclose(slope(mean), f * mean(t), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(slope(variance), 2 * f * variance(t) + g**2, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("make", [paths.linear_betas, paths.cosine_betas])
def test_ddpm_is_the_product_of_one_minus_beta(x64, make):
    betas = make(200)
    path = paths.ddpm(betas)
    grid = (jnp.arange(200) + 1) / 200
    product = np.cumprod(1 - np.asarray(betas))
    np.testing.assert_allclose(path.alpha(grid) ** 2, product, rtol=1e-11)
    np.testing.assert_allclose(path.sigma(grid) ** 2, 1 - product, rtol=1e-11)
    assert path.alpha(jnp.array(0.0)) == 1
    assert path.sigma(jnp.array(0.0)) == 0


def test_betas_are_the_papers(x64):
    np.testing.assert_allclose(paths.linear_betas(), np.linspace(1e-4, 0.02, 1000), rtol=1e-12)
    cosine = paths.cosine_betas(100)
    level = lambda t: np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2
    alpha_bar = np.cumprod(1 - np.asarray(cosine))
    np.testing.assert_allclose(
        alpha_bar[:-1], level(np.arange(1, 100) / 100) / level(0.0), rtol=1e-10
    )
    assert cosine[-1] == 0.999


def test_vp_is_the_limit_of_ddpm(x64):
    # log alpha^2 differs by the integral of beta^2 / (2 T) and the grid's offset: below 0.08 for
    # T = 1000, in proportion to 1 / T.
    t = jnp.linspace(0, 1, 101)
    gap = lambda steps: float(
        jnp.max(
            jnp.abs(
                2 * jnp.log(paths.ddpm(paths.linear_betas(steps)).alpha(t))
                - 2 * jnp.log(paths.vp(0.1, 20.0).alpha(t))
            )
        )
    )
    assert gap(1000) < 0.08
    np.testing.assert_allclose(gap(1000) / gap(4000), 4, rtol=0.05)


@pytest.mark.parametrize("name", paths.PATHS)
def test_time_of_log_snr_is_the_inverse(x64, name):
    path, t = paths.PATHS[name](), jnp.linspace(0.002, 0.998, 83)
    value = paths.log_snr(path, t)
    np.testing.assert_allclose(paths.time_of_log_snr(path, value), t, rtol=1e-9)
    ends = paths.time_of_log_snr(path, jnp.array([jnp.inf, -jnp.inf, 1e3, -1e3]))
    np.testing.assert_allclose(ends, [0, 1, 0, 1], atol=1e-12)
    assert paths.time_of_log_snr(path, jnp.array(0.0)).shape == ()


@pytest.mark.parametrize("source", paths.PATHS)
@pytest.mark.parametrize("target", paths.PATHS)
def test_transfer_gives_the_targets_own_denoiser(x64, key, source, target):
    path_a, path_b = paths.PATHS[source](), paths.PATHS[target]()
    mixture = exact.mixture_2d()
    levels = jnp.array([0.03, 0.2, 1.0, 5.0, 30.0])  # sigma / alpha, within every path's range
    t = paths.time_of_log_snr(path_b, -2 * jnp.log(levels))
    x = exact.mixture_noised(key, path_b, mixture, t)
    moved = paths.transfer(exact.mixture_denoiser(mixture, path_a), path_a, path_b)
    assert_close(moved(x, t), exact.mixture_denoiser(mixture, path_b)(x, t), 1e-9)


@pytest.mark.parametrize("name", paths.PATHS)
def test_velocity_field_carries_the_exact_flow(x64, name):
    # The field of a Gaussian's denoiser is the time derivative of the closed-form flow through x.
    path, t = paths.PATHS[name](), jnp.array(TIMES)
    x = jnp.linspace(-1, 2, 5)[:, None] * jnp.sqrt(path.alpha(t) ** 2 + path.sigma(t) ** 2)[:, None]
    field = paths.velocity(exact.gaussian_denoiser(0.3, 0.6, path), path)
    flow = lambda x, t: jax.jacfwd(lambda s: exact.gaussian_flow(0.3, 0.6, path, x, t, s))(t)
    assert_close(field(x, t), jax.vmap(flow)(x[:, 0], t)[:, None], 1e-10)


@pytest.mark.parametrize("name", paths.PATHS)
def test_float32_schedules_keep_relative_precision(x64, name):
    path, t = paths.PATHS[name](), jnp.array([1e-3, 0.01, 0.3, 0.9])
    with jax.enable_x64(False):
        single_path, single_t = paths.PATHS[name](), jnp.array([1e-3, 0.01, 0.3, 0.9])
        alpha, sigma = single_path.alpha(single_t), single_path.sigma(single_t)
    np.testing.assert_allclose(alpha, path.alpha(t), rtol=1e-5)
    np.testing.assert_allclose(sigma, path.sigma(t), rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: paths.vp(-1.0), "beta_min=-1.0"),
        (lambda: paths.vp(2.0, 1.0), "beta_max=1.0"),
        (lambda: paths.sub_vp(float("nan")), "beta_min=nan"),
        (lambda: paths.ve(0.0), "sigma_min=0.0"),
        (lambda: paths.ve(1.0, 0.5), "sigma_max=0.5"),
        (lambda: paths.edm(1.0, 1.0), "sigma_max=1.0"),
        (lambda: paths.linear_betas(20), "num_steps=20"),
        (lambda: paths.cosine_betas(0), "num_steps=0"),
        (lambda: paths.ddpm(jnp.array([0.1, 1.0])), "betas"),
        (lambda: paths.ddpm(jnp.array([0.0, 0.1])), "betas"),
        (lambda: paths.ddpm(jnp.array([jnp.nan, 0.1])), "betas"),
    ],
)
def test_bad_paths_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
