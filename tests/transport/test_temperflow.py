"""TemperFlow end to end on a small ring, its stages, its single compile, and its failures."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from gen_jax import metrics
from gen_jax.errors import ConfigError
from gen_jax.flows import affine, free, spline_flow
from gen_jax.sampling import make_target
from gen_jax.sampling.importance import effective_sample_size, log_normalizer
from gen_jax.transport import Schedule, anneal, temperflow
from gen_jax.transport.temperflow import DONE, FIRST, L2, LAST, POLISH, first_stage, next_stage

SMALL = Schedule(
    first_beta=0.1,
    first_steps=200,
    stage_steps=150,
    batch_size=400,
    learning_rate=2e-3,
)


class Trained(NamedTuple):
    """A trained ring: its draws, and how often the log-density had been traced at each call."""

    target: Any
    state: Any
    x: np.ndarray
    refined: np.ndarray
    log_q: np.ndarray
    some: np.ndarray
    rows: dict
    traces: list


@pytest.fixture(scope="module")
def ring(optimized):
    """Trained for about 1,500 steps, with 10,000 draws from the flow and by rejection."""
    target, traces = make_target("ring"), []

    def log_density(x):
        traces.append(x.shape)
        return target.log_density(x)

    model = temperflow(log_density, 2, spline_flow(bins=24, hidden=(32, 32)), SMALL)
    rows, counts = [], []

    def watch(step, state, metrics):
        rows.append({name: np.asarray(value) for name, value in metrics.items()})
        counts.append(len(traces))

    state = anneal(jax.random.key(0), model, chunk=50, watch=watch)
    joined = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    @jax.jit
    def draws(keys):
        x = model.sample(keys, state, 10_000)
        refined = model.sample(keys, state, 10_000, refined=True)
        return x, refined, model.log_prob(None, state, x), model.sample(keys[7:9], state, 2)

    drawn = map(np.asarray, draws(jax.random.split(jax.random.key(1), 10_000)))
    return Trained(target, state, *drawn, joined, counts)


def test_the_ring_is_covered_evenly(ring):
    report = metrics.mode_report(ring.x, ring.target.modes, 0.5)
    assert report.covered == 8
    assert report.total_variation < 0.05


def test_log_z_and_the_density_agree_with_the_target(ring):
    log_weights = ring.target.log_density(jnp.asarray(ring.x)) - ring.log_q
    log_z = log_normalizer(log_weights)
    assert effective_sample_size(log_weights) > 0.7 * len(log_weights)
    assert abs(log_z.value) < 5 * log_z.error
    assert abs(ring.state.stage.log_z) < 0.1


def test_refined_samples_are_nearer(ring):
    truth = ring.target.sample(jax.random.key(5), 10_000)
    distance = lambda x: float(metrics.sliced_wasserstein(jax.random.key(6), x, truth))
    # Two exact sets of 10,000 are about 0.08 apart.
    assert distance(ring.refined) < max(1.1 * distance(ring.x), 0.16)


def test_samples_do_not_depend_on_their_batch(ring):
    np.testing.assert_allclose(ring.some, ring.x[7:9], rtol=1e-3, atol=1e-4)


def test_one_trace_serves_all_stages(ring):
    assert int(ring.state.stage.phase) == DONE
    assert int(ring.state.stage.index) > 5
    assert len(set(ring.traces)) == 1


def test_the_curve_rises_to_one_and_kl_falls(ring):
    state, rows = ring.state, ring.rows
    assert rows["beta"][0] == pytest.approx(0.1)
    assert np.all(np.diff(rows["beta"]) >= 0)
    assert rows["beta"][-1] == 1
    assert rows["skipped"].sum() == 0
    stages = int(state.stage.index)
    beta, kl, _ = np.asarray(state.history)[:stages].T
    assert np.all(kl[beta < 1][1:] < kl[beta < 1][:-1])
    np.testing.assert_allclose(beta[0], 0.1, rtol=1e-6)


def test_phases_follow_each_other():
    """By hand: energies of draws of N(0, 1) for itself, so that KL and its slope are known."""
    x = jax.random.normal(jax.random.key(0), (1000,))
    after = jax.jit(
        lambda stage, schedule: next_stage(schedule, stage, x**2 / 2, norm.logpdf(x)),
        static_argnums=1,
    )
    short = Schedule(first_beta=0.9, polish_steps=7, stage_steps=5)
    stage = first_stage(short)
    seen = [int(stage.phase)]
    while seen[-1] != DONE:
        stage = after(stage, short).stage
        seen.append(int(stage.phase))
    middle = seen[1:-3]
    assert (seen[0], seen[-3:]) == (FIRST, [LAST, POLISH, DONE])
    assert set(middle) <= {L2}
    alone = Schedule(first_beta=1.0)
    assert int(after(first_stage(alone), alone).stage.phase) == DONE
    mended = Schedule(first_beta=1.0, polish_steps=7, polish_rate=0.02, polish="forward_kl")
    polish = after(first_stage(mended), mended).stage
    assert (int(polish.phase), float(polish.peak)) == (POLISH, pytest.approx(0.02))
    assert float(polish.ess) == pytest.approx(1, rel=1e-5)  # x are draws of the target itself
    again = Schedule(first_beta=1.0, polish_steps=7, polish_rounds=3)
    following = after(first_stage(again), again)
    for rounds in (1, 2, 3):
        assert int(following.stage.phase) == POLISH
        assert bool(following.renew)
        assert (int(following.stage.polishes), int(following.stage.length)) == (rounds, 7)
        following = after(following.stage, again)
    assert int(following.stage.phase) == DONE
    capped = Schedule(first_beta=0.01, max_stages=3)
    stage = first_stage(capped)
    one = after(stage, capped)
    assert bool(one.renew)
    assert int(one.stage.length) == 2 * capped.stage_steps
    assert float(one.stage.peak) == pytest.approx(0.9e-3 / float(one.stage.beta) ** 0.5)
    last = after(after(one.stage, capped).stage, capped).stage
    assert int(last.phase) == LAST
    assert float(last.beta) == 1


def test_a_density_with_holes_is_survived_and_the_end_is_the_end():
    """-inf and NaN on half of the plane: samples stay finite. Done, a step changes nothing."""

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
    state = state._replace(stage=state.stage._replace(phase=jnp.int32(DONE)))
    after, _ = step(jax.random.key(9), state, None)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(state)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first_beta": 0.0}, "first_beta"),
        ({"first_beta": 1.1}, "first_beta"),
        ({"kl_factor": 1.0}, "kl_factor"),
        ({"stage_steps": 0}, "stage_steps"),
        ({"batch_size": 1}, "batch_size"),
        ({"polish": "kl"}, "polish"),
        ({"polish_rate": 0.0}, "polish_rate"),
        ({"polish_rounds": 0}, "polish_rounds"),
        ({"learning_rate": 0.0}, "learning_rate"),
    ],
)
def test_bad_schedules(options, message):
    with pytest.raises(ConfigError, match=message):
        temperflow(lambda x: x[:, 0], 2, spline_flow(), Schedule(**options))
