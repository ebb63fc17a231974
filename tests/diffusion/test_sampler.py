"""The one loop: grids, exact counts of network calls, trajectories, memorised data, bad input."""

from functools import partial

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback
from usual import MEASURED

from gen_jax import diffusion, paths
from gen_jax.calls import network_call
from gen_jax.errors import ConfigError

# Shapes that an annotation already refuses are a TypeError in these tests, a ConfigError elsewhere.
REFUSED = (ConfigError, TypeError)

STEPS = 5
CALLS = dict.fromkeys(MEASURED, STEPS) | {
    "heun": 2 * STEPS,
    "midpoint": 2 * STEPS,
    "rk4": 4 * STEPS,
    "edm_heun": 2 * STEPS - 1,
    "edm": 2 * STEPS - 1,
    "predictor_corrector": 2 * STEPS - 1,
    "annealed_langevin": 5 * (STEPS - 1) + 1,
    "adaptive": None,
}
"""What is stated, by default one call for each step; None, or not here: as many as it counts."""

GRIDS = diffusion.GRIDS


@pytest.mark.parametrize("name", diffusion.STEPPERS)
def test_network_calls_are_counted_exactly(key, name):
    path, seen = paths.linear(), []
    exact_denoise = exact.gaussian_denoiser(0.3, 0.6, path)

    def denoise(x, t):
        zero = io_callback(
            lambda: (seen.append(1), np.float32(0))[1], jax.ShapeDtypeStruct((), "f")
        )
        return exact_denoise(x, t) + zero

    stepper = diffusion.STEPPERS[name]()
    times = GRIDS[stepper.grid](path, STEPS)
    n = 1 if name == "adaptive" else 2  # vmap would call back once per sample
    x = jax.random.normal(key, (n, 2))
    _, info = diffusion.sample_with_info(key, denoise, path, x, times, stepper)
    jax.effects_barrier()
    assert int(info.calls) == len(seen)
    assert len(seen) == (CALLS.get(name) or int(info.calls))


def watched(denoise, seen):
    """The denoiser with every evaluation recorded in `seen` as it happens, with its time."""

    def call(x, t):
        record = lambda t: (seen.append(float(t)), np.float32(0))[1]
        return denoise(x, t) + io_callback(record, jax.ShapeDtypeStruct((), "f"), t[0])

    return call


INTERVAL = (0.25, 0.65)


def wrappers(path):
    """Name -> function from (denoiser, another denoiser) to a denoiser on `path`."""
    from_vp = lambda d: paths.transfer(d, paths.vp(), path)
    free = diffusion.classifier_free
    log_likelihood = lambda x, t: -0.5 * jnp.sum((x - 1) ** 2, -1)
    return {
        "guidance": lambda d, g: free(d, g, 2.0),
        "weight of one": lambda d, g: free(d, g, jnp.ones(2)),
        "weights of one and two": lambda d, g: free(d, g, jnp.array([1.0, 2.0])),
        "interval": lambda d, g: free(d, g, 2.0, INTERVAL),
        "empty interval": lambda d, g: free(d, g, 2.0, (0.55, 0.55)),
        "transfer": lambda d, g: from_vp(d),
        "guided, then transferred": lambda d, g: from_vp(free(d, g, 2.0)),
        "transferred, then guided": lambda d, g: free(from_vp(d), from_vp(g), 2.0, INTERVAL),
        "classifier": lambda d, g: diffusion.classifier(d, log_likelihood, path, 0.1),
        "guidance twice": lambda d, g: free(free(d, g, 2.0, INTERVAL), d, 1.5, (0.5, 1.0)),
        "classifier of guidance": lambda d, g: diffusion.classifier(
            free(d, g, 2.0), log_likelihood, path, 0.1
        ),
        "one's own": lambda d, g: lambda x, t: free(d, g, 2.0)(x, t) + 0.1,
        "one's own, jitted": lambda d, g: jax.jit(lambda x, t: free(d, g, 2.0)(x, t) + 0.1),
        "one's own marked": lambda d, g: (
            lambda x, t: network_call(d)(x, t) - network_call(d)(x / 2, t)
        ),
    }


@pytest.mark.parametrize("name", wrappers(paths.linear()))
def test_calls_of_the_network_are_counted_through_every_wrapper(key, name):
    path, seen = paths.linear(), []
    plain = exact.gaussian_denoiser(0.3, 0.6, path)
    denoise = wrappers(path)[name](watched(plain, seen), watched(plain, seen))
    x = jax.random.normal(key, (2, 1))
    times = GRIDS["uniform"](path, STEPS)
    arguments = key, denoise, path, x, times, diffusion.heun()
    end, info = diffusion.sample_with_info(*arguments)
    jax.effects_barrier()
    assert int(info.calls) == len(seen) > 0
    uncounted = diffusion.sample(*arguments)
    np.testing.assert_allclose(uncounted, end, rtol=1e-5, atol=1e-6)


def test_guidance_costs_a_call_where_it_acts_alone(key):
    path, seen, guides = paths.linear(), [], []
    plain = exact.gaussian_denoiser(0.3, 0.6, path)
    denoise = lambda weight, *interval: diffusion.classifier_free(
        watched(plain, seen), watched(plain, guides), weight, *interval
    )
    times, x = GRIDS["uniform"](path, 10), jax.random.normal(key, (2, 1))
    run = lambda d: diffusion.sample_with_info(key, d, path, x, times, diffusion.ddim())[1].calls
    assert int(run(denoise(2.0))) == 20
    guides.clear()
    assert int(run(denoise(2.0, INTERVAL))) == 14
    jax.effects_barrier()
    np.testing.assert_allclose(guides, [0.6, 0.5, 0.4, 0.3], atol=1e-6)
    assert int(run(denoise(1.0))) == 10


@pytest.mark.parametrize("name", diffusion.STEPPERS)
def test_every_stepper_takes_every_dtype_of_state(key, name):
    """The state and the network keep the dtype of x, times are float32, or float64 under x64."""
    path, stepper, seen = paths.linear(), diffusion.STEPPERS[name](), set()
    truth = exact.gaussian_denoiser(0.3, 0.6, path)

    def denoise(x, t):
        seen.add((x.dtype.name, t.dtype.name))
        return truth(x, t)

    for wide in (False, True):
        with jax.enable_x64(wide):
            times = GRIDS[stepper.grid](path, 6)
            run = partial(diffusion.sample_with_info, times=times, stepper=stepper)
            for dtype in ("bfloat16", "float16", "float32", *["float64"] * wide):
                seen.clear()
                end, info = jax.eval_shape(
                    lambda x, run=run: run(key, denoise, path, x), jnp.zeros((2, 2), dtype)
                )
                assert (end.dtype, info.calls.dtype) == (dtype, jnp.int32)
                assert seen == {(dtype, "float64" if wide else "float32")}


def test_times_are_not_rounded_to_the_state(key):
    """On 200 steps neighbouring times are equal in bfloat16; an exact run does not notice."""
    path, denoise = paths.linear(), exact.gaussian_denoiser(0.3, 0.6, paths.linear())
    x = jax.random.normal(key, (2000, 1), jnp.bfloat16)
    times = GRIDS["log_snr"](path, 200)
    end = jax.jit(lambda x: diffusion.sample(key, denoise, path, x, times, diffusion.unipc()))(x)
    truth = 0.3 + 0.6 * x.astype(jnp.float32)
    error = np.asarray(end.astype(jnp.float32) - truth)
    assert np.sqrt((error**2).mean()) < 0.01


def test_prior_has_the_default_dtype_unless_another_is_given(key):
    path = paths.vp()
    assert diffusion.prior(key, path, (2, 1)).dtype == jnp.float32
    assert diffusion.prior(key, path, (2, 1), dtype=jnp.bfloat16).dtype == jnp.bfloat16
    with jax.enable_x64(True):
        assert diffusion.prior(key, path, (2, 1)).dtype == jnp.float64
        assert diffusion.prior(key, path, (2, 1), dtype=jnp.float32).dtype == jnp.float32


def test_more_corrections_and_inner_steps_are_counted(key):
    path = paths.vp()
    denoise, x = exact.gaussian_denoiser(0.0, 1.0, path), jax.random.normal(key, (2, 1))
    times = GRIDS["uniform"](path, 4)
    for stepper, calls in (
        (diffusion.predictor_corrector(diffusion.edm_heun(), corrections=3), 7 + 9),
        (diffusion.annealed_langevin(num_inner=2), 7),
        (diffusion.edm(churn=10.0), 7),
        (diffusion.runge_kutta("ralston"), 8),
    ):
        _, info = diffusion.sample_with_info(key, denoise, path, x, times, stepper)
        assert int(info.calls) == calls
        assert info.trajectory is None
    # A grid that does not end at the data has no special last step.
    _, info = diffusion.sample_with_info(key, denoise, path, x, times[:-1], diffusion.edm_heun())
    assert int(info.calls) == 6


@pytest.mark.parametrize(
    "name",
    ["edm_heun", "unipc", "dpm_solver_pp", "adams", "dpm_solver_pp_sde", "annealed_langevin"],
)
def test_bumps_far_apart_keep_their_weights(key, name):
    """Modes of 0.3 and 0.7 at -300 and 200 on a path that begins at 600."""
    path, stepper = paths.ve(0.01, 600.0), diffusion.STEPPERS[name]()
    mixture = exact.Mixture(
        jnp.array([0.3, 0.7]), jnp.array([[-300.0], [200.0]]), jnp.full((2, 1, 1), 25.0)
    )
    denoise = diffusion.mixture_denoiser(*mixture, path)
    n = 4000
    x = exact.mixture_sample(key, mixture, n) + 600 * jax.random.normal(key, (n, 1))
    times = GRIDS[stepper.grid](path, 100)
    end = jax.jit(lambda x: diffusion.sample(key, denoise, path, x, times, stepper))(x)
    assert abs(float((end < -50).mean()) - 0.3) < 0.04


def test_trajectory_ends_in_the_samples_and_prior_has_its_variance(key):
    path = paths.ve()
    denoise = exact.gaussian_denoiser(0.0, 2.0, path)
    x = diffusion.prior(key, path, (3, 2), data_std=2.0)
    times = GRIDS["karras"](path, 6)
    end, info = diffusion.sample_with_info(
        key, denoise, path, x, times, diffusion.ddim(), trajectory=True
    )
    assert info.trajectory.shape == (6, 3, 2)
    np.testing.assert_array_equal(info.trajectory[-1], end)
    plain = diffusion.sample(key, denoise, path, x, times, diffusion.ddim())
    np.testing.assert_allclose(plain, end, rtol=1e-5, atol=1e-6)
    many = diffusion.prior(key, path, (30_000, 2), t=0.3, data_std=2.0)
    z = many / jnp.hypot(2.0, path.sigma(jnp.array(0.3)))
    assert exact.standard_normal_p_value(z) > 5e-7


@pytest.mark.parametrize("name", ["ddim", "ddpm", "edm_heun", "dpm_solver_pp", "euler_maruyama"])
def test_with_the_empirical_denoiser_samplers_return_training_points(key, name):
    key_data, key_run = jax.random.split(key)
    data = jax.random.normal(key_data, (8, 3, 1))
    path, stepper = paths.vp(), diffusion.STEPPERS[name]()
    denoise = diffusion.empirical_denoiser(data, path)
    x = diffusion.prior(key_run, path, (200, 3, 1))
    times = GRIDS[stepper.grid](path, 100)
    end = jax.jit(lambda x: diffusion.sample(key_run, denoise, path, x, times, stepper))(x)
    distance = jnp.sqrt(((end[:, None] - data[None]) ** 2).sum((2, 3)))
    assert float(jnp.quantile(distance.min(1), 0.95)) < 0.05
    # Every point is found about equally often: chi-square above 45 at 7 degrees is below 1e-6.
    count = np.bincount(np.asarray(distance.argmin(1)), minlength=8)
    assert ((count - 25) ** 2 / 25).sum() < 45


def test_the_empirical_denoiser_is_a_mixture_without_spread(x64, key):
    data, path = jax.random.normal(key, (5, 2)), paths.cosine()
    x, t = jax.random.normal(key, (4, 2)), jnp.array([0.3, 0.5, 0.7, 0.9])
    points = exact.Mixture(jnp.full(5, 0.2), data, jnp.zeros((5, 2, 2)))
    found = diffusion.empirical_denoiser(data, path)(x, t)
    np.testing.assert_allclose(found, exact.mixture_denoiser(points, path)(x, t), atol=1e-10)
    at_one_time = diffusion.empirical_denoiser(data, path)(x, t[1])
    np.testing.assert_allclose(at_one_time[1], found[1])


def test_bad_times_and_mixtures_are_refused(key):
    path, x = paths.vp(), jnp.zeros((2, 1))
    denoise = exact.gaussian_denoiser(0.0, 1.0, path)
    run = lambda times: diffusion.sample(key, denoise, path, x, jnp.array(times), diffusion.ddim())
    for times in ([0.0, 1.0], [1.1, 0.0], [1.0, -0.1], [1.0, float("nan")]):
        with pytest.raises(ConfigError, match="fall"):
            run(times)
    for times in ([1.0], [[1.0, 0.0]]):
        with pytest.raises(REFUSED, match="times"):
            run(times)
    with pytest.raises(REFUSED, match="covariances"):
        diffusion.mixture_denoiser(jnp.ones(2) / 2, jnp.zeros((2, 3)), jnp.zeros((2, 3, 2)), path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x, carry: x, "returned a .*allowed: a pair"),
        (lambda x, carry: (x, carry, 0), "returned 3 values, allowed: a pair"),
        (lambda x, carry: None, "returned a NoneType, allowed: a pair"),
        (lambda x, carry: (x[:1], carry), r"step returned shape \(1, 2\)"),
        (lambda x, carry: (x.astype(jnp.float16), carry), "returned x of another .*dtype"),
        (lambda x, carry: (x, (x,)), "returned carry of another structure"),
    ],
)
def test_a_step_returns_a_pair_of_the_forms_it_was_given(wrong, message, key):
    stepper = diffusion.Stepper(lambda keys, denoise, path, x, carry, move: wrong(x, carry))
    with pytest.raises(ConfigError, match=message) as caught:
        diffusion.sample(
            key, lambda x, t: x, paths.linear(), jnp.ones((3, 2)), jnp.array([1.0, 0.0]), stepper
        )
    assert "\n" not in str(caught.value)


SCALED = paths.GaussianPath(lambda t: 2 * (1 - t), lambda t: t)
"""A path whose x_0 is twice the data."""


@pytest.mark.parametrize("name", ["euler", "heun", "rk4", "adams", "ddim", "unipc", "adaptive"])
def test_samples_are_data_where_the_path_scales_them(key, name):
    """Two narrow modes at -1 and 1; methods on dx / dt once returned 2 x0."""
    modes = exact.Mixture(
        jnp.array([0.3, 0.7]), jnp.array([[-1.0], [1.0]]), jnp.full((2, 1, 1), 1e-4)
    )
    denoise, stepper = diffusion.mixture_denoiser(*modes, SCALED), diffusion.STEPPERS[name]()
    x, times = diffusion.prior(key, SCALED, (64, 1)), GRIDS[stepper.grid](SCALED, 24)
    end = diffusion.sample(key, denoise, SCALED, x, times, stepper)
    np.testing.assert_allclose(jnp.abs(end), 1, atol=0.08)


def test_exact_denoisers_at_the_data():
    """At sigma = 0 the point itself, or the nearest one: their densities are infinite there."""
    data, path = jnp.array([[0.0, 0.0], [1.0, 1.0], [4.0, 0.0]]), paths.linear()
    x, t = jnp.array([[1.0, 1.0], [3.0, 0.2], [-9.0, 0.0]]), jnp.zeros(3)
    points = jnp.full(3, 1 / 3), data, jnp.zeros((3, 2, 2))
    for denoise in (
        diffusion.empirical_denoiser(data, path),
        diffusion.mixture_denoiser(*points, path),
    ):
        np.testing.assert_array_equal(denoise(x, t), data[jnp.array([1, 2, 0])])
        slope = jax.grad(lambda x, denoise=denoise: denoise(x, t).sum())(x)
        assert np.isfinite(slope).all()
