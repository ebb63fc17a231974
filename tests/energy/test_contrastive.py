"""Contrastive training: chains, the replay buffer, and the gradient against its closed form."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import energy
from gen_jax.energy import replay
from gen_jax.energy.chains import run_chains
from gen_jax.energy.contrastive import contrastive
from gen_jax.errors import ConfigError
from gen_jax.randomness import sample_keys

FALSE_ALARM, Z_MAX = 5e-7, 5.03
MEAN, PRECISION, STEP = 0.7, 1.6, 0.1
CHAINS = 30_000


def gaussian(p):
    """E of N(p[0], 1 / p[1])."""
    return lambda x: 0.5 * p[1] * (x[:, 0] - p[0]) ** 2


def ended(steps, start=2.0, temperature=1.0):
    """(mean, variance) of the chain on the Gaussian after some steps from N(0, start^2)."""
    mean, variance, keep = 0.0, start**2, 1 - STEP * PRECISION
    for _ in range(steps):
        mean = keep * mean + STEP * PRECISION * MEAN
        variance = keep**2 * variance + 2 * STEP * temperature
    return mean, variance


def chains(key, steps, temperature=1.0, p=(MEAN, PRECISION)):
    key_start, key_chain = jax.random.split(key)
    start = 2.0 * jax.random.normal(key_start, (CHAINS, 1))
    options = {"num_steps": steps, "step_size": STEP, "temperature": temperature}
    return jax.jit(lambda: run_chains(key_chain, gaussian(p), start, **options))()


@pytest.mark.parametrize(("steps", "temperature"), [(5, 1.0), (60, 1.0), (60, 0.2)])
def test_chains_follow_their_exact_law(key, steps, temperature):
    """Short runs and long ones; 30,000 chains catch a variance 8 % off (planted: noise 4 %)."""
    result = chains(key, steps, temperature)
    mean, variance = ended(steps, temperature=temperature)
    z = (np.asarray(result.x, np.float64) - mean) / np.sqrt(variance)
    assert result.valid.all()
    assert exact.standard_normal_p_value(z) > FALSE_ALARM
    assert exact.standard_normal_p_value(1.04 * z) < FALSE_ALARM


def test_gradient_is_that_of_maximum_likelihood(key):
    """For data N(0.2, 0.5) under the Gaussian energy, chains mixed: the gradient of the mean
    -log p is (PRECISION (MEAN - 0.2), ((0.2 - MEAN)^2 + 0.5 - 1 / PRECISION) / 2), but for the
    step's bias in the chains' variance, 1 / (1 - STEP PRECISION / 2), which is known."""
    data = 0.2 + np.sqrt(0.5) * jax.random.normal(key, (CHAINS, 1))
    p = jnp.array([MEAN, PRECISION])
    samples = chains(jax.random.fold_in(key, 1), 60)

    def z_scores(sign=1.0, moved=samples.x):
        each = lambda p: contrastive(gaussian(p), data, moved, samples.valid)[0]
        gradient = sign * np.asarray(jax.jacfwd(each)(p), np.float64)
        variance = 1 / PRECISION / (1 - STEP * PRECISION / 2)
        exact_gradient = PRECISION * (MEAN - 0.2), ((0.2 - MEAN) ** 2 + 0.5 - variance) / 2
        return np.abs(gradient.mean(0) - exact_gradient) / gradient.std(0) * np.sqrt(CHAINS)

    assert z_scores().max() < Z_MAX
    assert z_scores(sign=-1.0).max() > Z_MAX  # the lecture's sign
    assert z_scores(moved=2 * jax.random.normal(key, (CHAINS, 1))).max() > Z_MAX  # never moved


def test_dropped_chains_leave_the_loss_of_the_others():
    x, samples = jax.random.normal(jax.random.key(0), (2, 4, 1))
    valid = jnp.array([True, False, True, False])
    broken = jnp.where(valid[:, None], samples, jnp.nan)
    loss = lambda p: contrastive(gaussian(p), x, broken, valid, regulariser=0.3)[0].mean()
    value, gradient = jax.value_and_grad(loss)(jnp.array([MEAN, PRECISION]))

    def plain(p):
        data, model = gaussian(p)(x), gaussian(p)(samples[::2])
        return data.mean() - model.mean() + 0.3 * ((data**2).mean() + (model**2).mean())

    wanted = jax.value_and_grad(plain)(jnp.array([MEAN, PRECISION]))
    np.testing.assert_allclose(value, wanted[0], rtol=1e-5)
    np.testing.assert_allclose(gradient, wanted[1], rtol=1e-5)
    none = contrastive(gaussian((0.0, 1.0)), x, samples, jnp.zeros(4, bool))[0]
    assert np.isnan(none).all()


def test_no_gradient_reaches_the_samples():
    x = jnp.ones((3, 1))
    loss = lambda samples: contrastive(gaussian((0.0, 1.0)), x, samples)[0].sum()
    assert np.all(jax.grad(loss)(2 * x) == 0)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_chains_that_meet_nan_are_marked_alone(key, bad):
    """Density broken beyond x = 1: those that step there are marked, the others do not notice."""
    broken = lambda x: jnp.where(x[:, 0] > 1, bad, gaussian((0.0, 1.0))(x))
    start = jnp.linspace(-2, 0.99, 40)[:, None]
    run = jax.jit(lambda key, x: run_chains(key, broken, x, num_steps=10, step_size=0.05))
    result = run(key, start)
    assert 5 < result.valid.sum() < 40
    assert np.isfinite(result.x).all()
    whole = lambda key, x: run_chains(key, gaussian((0.0, 1.0)), x, num_steps=10, step_size=0.05)
    wanted = jax.jit(whole)(key, start).x
    np.testing.assert_allclose(result.x[result.valid], wanted[result.valid], rtol=1e-5)
    alone = run(sample_keys(key, 40)[3:4], start[3:4])
    np.testing.assert_allclose(alone.x[0], result.x[3], rtol=1e-5)
    # Also outside jit: a start that is bad is marked and stays, whatever the others do.
    start = start.at[0].set(jnp.nan).at[1].set(5.0)
    for result in (run(key, start), run_chains(key, broken, start, num_steps=2, step_size=0.05)):
        assert not result.valid[:2].any()
        np.testing.assert_array_equal(result.x[:2], start[:2])
        assert result.valid[2:].any()


def test_clipped_gradients_have_at_most_that_norm(key):
    """A chain of one step without noise moves by h times the clipped gradient."""
    steep = lambda x: 100 * jnp.sum(x**2, 1)
    x = jnp.array([[3.0, 4.0], [1e-3, 0.0]])
    options = {"num_steps": 1, "step_size": 0.01, "temperature": 1e-12}
    moved = jax.jit(lambda: run_chains(key, steep, x, clip=2.0, **options))().x - x
    np.testing.assert_allclose(moved, [[-0.012, -0.016], [-0.002, 0.0]], atol=2e-6)


def test_replay_draws_different_rows_and_restarts_some(key):
    buffer = jnp.arange(500.0)[:, None]
    fresh = -jnp.ones((400, 1))
    rows, start = replay.draw(key, buffer, fresh, 0.25)
    assert len(np.unique(rows)) == 400
    restarted = np.asarray(start[:, 0] == -1)
    np.testing.assert_array_equal(start[~restarted, 0], rows[~restarted])
    # Binomial(400, 1/4): 100 +- 5.03 deviations of 8.7.
    assert abs(restarted.sum() - 100) < 44
    valid = jnp.arange(400) % 2 == 0
    written = replay.write(buffer, rows, start + 1000, valid, fresh)
    np.testing.assert_array_equal(written[rows[valid]], (start + 1000)[valid])
    assert np.all(written[rows[~valid]] == -1)
    untouched = np.setdiff1d(np.arange(500), rows)
    np.testing.assert_array_equal(written[untouched], buffer[untouched])
    with pytest.raises(ConfigError, match="buffer_size=500 is below the batch size 501"):
        replay.draw(key, buffer, jnp.ones((501, 1)), 0.1)


@pytest.mark.parametrize(
    "options", [{"num_steps": 0}, {"step_size": -1.0}, {"temperature": 0.0}, {"clip": -1.0}]
)
def test_chains_refuse(key, options):
    settings = {"num_steps": 1, "step_size": 0.1} | options
    with pytest.raises(ConfigError, match=next(iter(options))):
        energy.run_chains(key, gaussian((0.0, 1.0)), jnp.ones((2, 1)), **settings)
