"""Time grids: falling from noise to data, the ranges that they cover, bad input."""

import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import diffusion, paths
from gen_jax.errors import ConfigError

GRIDS = diffusion.GRIDS
REFUSED = (ConfigError, TypeError)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", paths.PATHS)
@pytest.mark.parametrize("n", [1, 40, 1000])
def test_grids_fall_strictly_from_noise_to_data(grid, name, n):
    path = paths.PATHS[name]()
    if (grid, n) == ("ends", 1000) or (grid != "uniform" and n == 1):
        n = 2
    times = np.asarray(GRIDS[grid](path, n))
    assert times.shape == ((3 if grid == "ends" else n + 1),)
    assert (times[0], times[-1]) == (1, 0)
    assert np.all(np.diff(times) < 0)
    assert np.all(np.isfinite(np.asarray(paths.log_snr(path, jnp.array(times[1:-1])))))


def test_karras_is_uniform_on_the_edm_path_and_warps_levels_on_others(x64):
    times = GRIDS["karras"](paths.edm(), 18)
    np.testing.assert_allclose(times[:-1], np.linspace(1, 0, 18), atol=1e-12)
    i = np.arange(18)
    levels = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7  # eq. 5
    np.testing.assert_allclose(paths.edm().sigma(times[:-1]), levels, rtol=1e-9)
    for path in (paths.linear(), paths.vp(), paths.cosine()):
        t = GRIDS["karras"](path, 18, sigma_min=0.002, sigma_max=80.0)[1:-1]
        np.testing.assert_allclose(path.sigma(t) / path.alpha(t), levels[1:], rtol=1e-9)


def test_log_snr_grid_has_equal_ratios(x64):
    for path in (paths.linear(), paths.vp(), paths.ve()):
        t = GRIDS["log_snr"](path, 20)[1:-1]
        np.testing.assert_allclose(np.diff(paths.log_snr(path, t), n=2), 0, atol=1e-8)


def test_ddpm_subsequence_takes_trained_steps():
    for n in (1, 7, 50, 1000):
        times = np.asarray(GRIDS["ddpm_subsequence"](paths.vp(), n), np.float64) * 1000
        np.testing.assert_allclose(times, np.round(times), atol=1e-3)
    with pytest.raises(ConfigError, match="num_steps=1001"):
        GRIDS["ddpm_subsequence"](paths.vp(), 1001)


@pytest.mark.parametrize("grid", sorted(set(GRIDS) - {"ends"}))
def test_grids_refuse_bad_numbers_of_steps(grid):
    for n in (0, -3):
        with pytest.raises(ConfigError, match=f"num_steps={n}"):
            GRIDS[grid](paths.vp(), n)


@pytest.mark.parametrize(
    "grid", ["karras", "log_snr", "power", "stretched", "linear", "flow", "ends"]
)
def test_default_grids_cover_the_paths_own_range(x64, grid):
    """NCSN's 348 down to 0.01: nothing of karras2022's 0.002 to 80."""
    path = paths.ve(0.01, 348.0)
    levels = np.asarray(path.sigma(GRIDS[grid](path, 4)[:-1]))
    np.testing.assert_allclose(levels[[0, -1]], [348, 0.01], rtol=1e-9)
    ramp = np.linspace(0, 1, 4)
    truth = (348 ** (1 / 7) + ramp * (0.01 ** (1 / 7) - 348 ** (1 / 7))) ** 7
    truth = {"log_snr": 348 * (0.01 / 348) ** ramp, "ends": [348, 0.01]}.get(grid, truth)
    np.testing.assert_allclose(levels, truth, rtol=1e-9)


@pytest.mark.parametrize("path", ["linear", "vp", "edm"])
@pytest.mark.parametrize("grid", sorted(set(GRIDS) - {"ddpm_subsequence"}))
def test_a_given_range_is_kept_on_every_grid(x64, grid, path):
    path = paths.PATHS[path]()
    times = GRIDS[grid](path, 7, sigma_min=0.03, sigma_max=12.0)
    levels = np.asarray(path.sigma(times) / path.alpha(times))
    np.testing.assert_allclose(levels[[0, -2]], [12, 0.03], rtol=1e-9)
    assert times[-1] == 0
    assert np.all(np.diff(times) < 0)


def test_the_flow_and_power_grids_are_t_to_the_3_2_of_the_linear_path(x64):
    times = np.linspace(1, 0, 9) ** 1.5
    np.testing.assert_allclose(GRIDS["flow"](paths.vp(), 8), times)
    np.testing.assert_allclose(GRIDS["power"](paths.linear(), 8), times, atol=1e-12)
    t = GRIDS["power"](paths.cosine(), 8, data_std=2.0)[1:-1]
    level = np.asarray(paths.cosine().sigma(t) / paths.cosine().alpha(t))
    np.testing.assert_allclose(level, 2 * times[1:-1] / (1 - times[1:-1]))
    for n, tails in ((8, 1.2), (20, 4 / 3), (80, 2.0), (1000, 5 / 3)):
        stretched = GRIDS["stretched"](paths.linear(), n, data_std=2.0)
        truth = GRIDS["power"](paths.linear(), n, data_std=2.0, tails=tails, exponent=1.25)
        np.testing.assert_allclose(stretched, truth, rtol=1e-9)
    place = times[1:-1]
    t = GRIDS["power"](paths.linear(), 8, data_std=2.0, tails=1.6)[1:-1]
    np.testing.assert_allclose(t / (1 - t), 2 * (place / (1 - place)) ** 1.6)
    t = GRIDS["karras"](paths.linear(), 8, data_std=3.0)[-2]
    np.testing.assert_allclose(t / (1 - t), 0.006)  # the stated ends are in units of the data


def test_a_little_noise_at_the_data_does_not_change_the_grid(x64):
    """Flow matching's sigma = s + (1 - s) t (lipman2023): on the Karras grid, which is for paths
    of noise alone, Heun's error with 20 calls was 20 times that on the linear path."""
    little = paths.GaussianPath(lambda t: 1 - t, lambda t: 1e-4 + (1 - 1e-4) * t)
    times = np.linspace(1, 0, 9) ** 1.5
    np.testing.assert_allclose(GRIDS["flow"](little, 8), times)
    for grid in ("power", "stretched", "linear"):
        plain = GRIDS[grid](paths.linear(), 8)
        np.testing.assert_allclose(GRIDS[grid](little, 8), plain, atol=2e-4)
    for path in (paths.ve(), paths.edm()):
        np.testing.assert_array_equal(GRIDS["flow"](path, 8), GRIDS["karras"](path, 8))


@pytest.mark.parametrize(
    ("grid", "options", "message"),
    [
        ("karras", {"sigma_max": 90.0}, "sigma_max=90.0 is outside .* 0.002 to 80"),
        ("uniform", {"sigma_min": 0.001}, "sigma_min=0.001 is outside"),
        ("power", {"sigma_min": 2.0, "sigma_max": 1.0}, "sigma_min=2 must be below sigma_max=1"),
        ("log_snr", {"sigma_min": -1.0}, "sigma_min=-1.0 must be"),
        ("ddpm_subsequence", {"sigma_max": 3.0}, "sigma_max=3.0.*ddpm_subsequence"),
    ],
)
def test_a_range_that_a_grid_cannot_have_is_refused(grid, options, message):
    with pytest.raises(ConfigError, match=message):
        GRIDS[grid](paths.edm(), 5, **options)
