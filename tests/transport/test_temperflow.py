"""TemperFlow end to end on a small ring, its stages, its single compile, and its failures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from gen_jax import metrics
from gen_jax.errors import ConfigError
from gen_jax.flows import affine, free, spline_flow
from gen_jax.sampling import make_target
from gen_jax.transport import Schedule, anneal, log_normalizer, temperflow
from gen_jax.transport.temperflow import DONE, FIRST, L2, LAST, POLISH, first_stage, next_stage

SMALL = Schedule(
    first_beta=0.1,
    first_steps=200,
    stage_steps=100,
    polish_steps=20,
    batch_size=200,
    learning_rate=3e-3,
)


@pytest.fixture(scope="module")
def ring():
    """(target, model, state, betas by step, traces of the log-density during the run)."""
    target, traces = make_target("ring"), []

    def log_density(x):
        traces.append(x.shape)
        return target.log_density(x)

    flow = spline_flow(bins=16, hidden=(24,))
    model = temperflow(log_density, 2, flow, SMALL)
    rows, counts = [], []

    def watch(step, state, metrics):
        rows.append({name: np.asarray(value) for name, value in metrics.items()})
        counts.append(len(traces))

    state = anneal(jax.random.key(0), model, chunk=50, watch=watch)
    joined = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    return target, model, state, joined, counts


def test_the_ring_is_covered_evenly(ring):
    target, model, state, _, _ = ring
    x = np.asarray(jax.jit(model.sample, static_argnums=2)(jax.random.key(1), state, 10_000))
    report = metrics.mode_report(x, target.modes, 0.5)
    assert report.covered == 8
    assert report.total_variation < 0.05


def test_log_z_and_the_density_agree_with_the_target(ring):
    target, model, state, _, _ = ring
    x = model.sample(jax.random.key(2), state, 5000)
    log_z = log_normalizer(target.log_density(x) - model.log_prob(None, state, x))
    assert log_z.effective > 0.7
    assert abs(log_z.value) < 5 * log_z.error
    assert abs(state.stage.log_z) < 0.1


def test_refined_samples_are_nearer(ring):
    target, model, state, _, _ = ring
    truth = target.sample(jax.random.key(5), 10_000)
    draw = jax.jit(model.sample, static_argnums=2, static_argnames="refined")
    distance = lambda x: float(metrics.sliced_wasserstein(jax.random.key(6), x, truth))
    plain = distance(draw(jax.random.key(3), state, 10_000))
    refined = distance(draw(jax.random.key(3), state, 10_000, refined=True))
    # Two exact sets of 10,000 are about 0.08 apart.
    assert refined < max(1.1 * plain, 0.16)


def test_one_trace_serves_all_stages(ring):
    _, _, state, _, counts = ring
    assert int(state.stage.phase) == DONE
    assert int(state.stage.index) > 5
    assert len(set(counts)) == 1


def test_the_curve_rises_to_one_and_kl_falls(ring):
    _, _, state, rows, _ = ring
    assert rows["beta"][0] == pytest.approx(0.1)
    assert np.all(np.diff(rows["beta"]) >= 0)
    assert rows["beta"][-1] == 1
    assert rows["skipped"].sum() == 0
    stages = int(state.stage.index)
    beta, kl, _ = np.asarray(state.history)[:stages].T
    assert np.all(kl[beta < 1][1:] < kl[beta < 1][:-1])
    np.testing.assert_allclose(beta[0], 0.1, rtol=1e-6)


def test_steps_after_the_end_change_nothing(ring):
    _, model, state, _, _ = ring
    after, _ = jax.jit(model.step)(jax.random.key(9), state, None)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(state)))


def test_samples_do_not_depend_on_their_batch(ring):
    _, model, state, _, _ = ring
    keys = jax.random.split(jax.random.key(4), 6)
    whole = model.sample(keys, state, 6)
    np.testing.assert_allclose(model.sample(keys[2:4], state, 2), whole[2:4], rtol=1e-3, atol=1e-4)


def test_phases_follow_each_other():
    """By hand: energies of draws of N(0, 1) for itself, so that KL and its slope are known."""
    x = jax.random.normal(jax.random.key(0), (1000,))
    after = lambda stage, schedule: next_stage(schedule, stage, x**2 / 2, norm.logpdf(x))
    short = Schedule(first_beta=0.9, polish_steps=7, stage_steps=5)
    stage = first_stage(short)
    seen = [int(stage.phase)]
    while seen[-1] != DONE:
        stage = after(stage, short).stage
        seen.append(int(stage.phase))
    middle = seen[1:-3]
    assert (seen[0], seen[-3:]) == (FIRST, [LAST, POLISH, DONE])
    assert set(middle) <= {L2}
    capped = Schedule(first_beta=0.01, max_stages=3)
    stage = first_stage(capped)
    one = after(stage, capped)
    assert bool(one.renew)
    assert int(one.stage.length) == 2 * capped.stage_steps
    assert float(one.stage.peak) == pytest.approx(0.9e-3 / float(one.stage.beta) ** 0.5)
    last = after(after(one.stage, capped).stage, capped).stage
    assert int(last.phase) == LAST
    assert float(last.beta) == 1


def test_a_density_with_holes_is_survived():
    """-inf and NaN on half of the plane: no step is lost, all samples are finite."""

    def log_density(x):
        inside = -0.5 * jnp.sum(x**2, 1)
        return jnp.where(x[:, 0] > 0, inside, jnp.where(x[:, 1] > 0, -jnp.inf, jnp.nan))

    model = temperflow(log_density, 2, free(affine()), Schedule(batch_size=50))
    state = model.init(jax.random.key(0))
    step = jax.jit(model.step)
    for i in range(3):
        state, rows = step(jax.random.key(i), state, None)
    assert np.isfinite(rows["loss"])
    assert np.isfinite(model.sample(jax.random.key(1), state, 20)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first_beta": 0.0}, "first_beta"),
        ({"first_beta": 1.0}, "first_beta"),
        ({"kl_factor": 1.0}, "kl_factor"),
        ({"stage_steps": 0}, "stage_steps"),
        ({"batch_size": 1}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
    ],
)
def test_bad_schedules(options, message):
    with pytest.raises(ConfigError, match=message):
        temperflow(lambda x: x[:, 0], 2, spline_flow(), Schedule(**options))
