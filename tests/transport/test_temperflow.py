"""TemperFlow end to end on a small ring, its stages, its single compile, and its failures."""

from typing import Any, NamedTuple

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from gen_jax import metrics
from gen_jax.errors import ConfigError
from gen_jax.flows import affine, free, spline_flow
from gen_jax.randomness import sample_keys
from gen_jax.sampling import make_target
from gen_jax.sampling.importance import effective_sample_size, log_normalizer
from gen_jax.transport import Schedule, anneal, temperflow
from gen_jax.transport.stages import DONE, FIRST, L2, LAST, POLISH, first_stage, next_stage

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


@pytest.mark.slow
def test_the_ring_is_covered_evenly(ring):
    report = metrics.mode_report(ring.x, ring.target.modes, 0.5)
    assert report.covered == 8
    assert report.total_variation < 0.05


@pytest.mark.slow
def test_log_z_and_the_density_agree_with_the_target(ring):
    log_weights = ring.target.log_density(jnp.asarray(ring.x)) - ring.log_q
    log_z = log_normalizer(log_weights)
    assert effective_sample_size(log_weights) > 0.7 * len(log_weights)
    assert abs(log_z.value) < 5 * log_z.error
    assert abs(ring.state.stage.log_z) < 0.1


@pytest.mark.slow
def test_refined_samples_are_nearer(ring):
    """Gaussian scores around the nearest mode: the flow's tails are too wide, 1e-67 by chance."""

    def p_value(x):
        around = x[:, None] - np.asarray(ring.target.modes)
        nearest = np.linalg.norm(around, axis=-1).argmin(1)
        return exact.standard_normal_p_value(around[np.arange(len(x)), nearest] / 0.5)

    assert p_value(ring.x) < 5e-7 < p_value(ring.refined)
    truth = ring.target.sample(jax.random.key(5), 10_000)
    distance = lambda x: float(metrics.sliced_wasserstein(jax.random.key(6), x, truth))
    # Two exact sets of 10,000 are about 0.08 apart; the flow is 0.13 away.
    assert distance(ring.refined) < 0.9 * distance(ring.x)


@pytest.mark.slow
def test_samples_do_not_depend_on_their_batch(ring):
    np.testing.assert_allclose(ring.some, ring.x[7:9], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_one_trace_serves_all_stages(ring):
    assert int(ring.state.stage.phase) == DONE
    assert int(ring.state.stage.index) > 5
    assert len(set(ring.traces)) == 1


@pytest.mark.slow
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


SHARES = [1.0, 0.85, 0.75, 0.55, 0.35, 0.31, 0.15, 0.05, 0.011, 0.009, 0.0005]


def test_the_reference_is_renewed_on_the_rungs_of_its_ladder_only():
    """From every KL to every other, in units of the first, against the rungs as published.

    The target is N(0, 1), so that KL = (1 / b - 1 + log b) / 2; evenly spaced "draws" give it.
    """
    rungs = np.array([0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.01, 0.001])
    x, beta = jnp.linspace(-12, 12, 2001), 0.5
    log_q = jnp.full(x.shape, -np.log(24.0))
    stage = first_stage(SMALL)._replace(phase=jnp.int32(L2), beta=jnp.float32(beta))
    renewed = jax.jit(
        lambda before, first: (
            next_stage(
                SMALL, stage._replace(kl=before * first, first_kl=first), x**2 / 2, log_q
            ).renew
        )
    )
    for before in SHARES:
        for now in SHARES:
            first = jnp.float32((1 / beta - 1 + np.log(beta)) / 2 / now)
            crossed = np.any((now < rungs) & (rungs <= before))
            assert bool(renewed(jnp.float32(before), first)) == crossed, (before, now)


def standing(log_density, **stage):
    """A model of the plane with an identity flow and its state in a stage of these numbers."""
    model = temperflow(log_density, 2, free(affine()), Schedule(batch_size=400))
    state = model.init(jax.random.key(0))
    numbers = {n: jnp.asarray(v, getattr(state.stage, n).dtype) for n, v in stage.items()}
    return model, state._replace(stage=state.stage._replace(**numbers))


@pytest.mark.parametrize(("kl", "renewed"), [(0.0, False), (np.inf, True)])
def test_the_reference_waits_for_its_renewal(kl, renewed):
    """At the end of a stage: a KL that was 0 cannot have fallen, one that was infinite has."""
    model, state = standing(
        lambda x: norm.logpdf(x, 1.0).sum(1),
        phase=L2,
        beta=0.5,
        length=1,
        kl=kl,
        first_kl=1e3,
    )
    after, _ = jax.jit(model.step)(jax.random.key(1), state, None)
    assert int(after.stage.index) == 1
    assert not np.allclose(after.params, state.params)
    np.testing.assert_array_equal(after.reference, after.params if renewed else state.reference)


def test_log_z_is_smoothed_over_batches_with_weight_0_8_on_the_newest():
    """p = e^5 N(0, I) and a reference that is N(0, I): every batch says 5, without noise."""
    model, state = standing(
        lambda x: norm.logpdf(x).sum(1) + 5.0, phase=LAST, beta=1.0, length=1000, log_z=0.0
    )
    for expected in (0.8 * 5, 0.8 * 5 + 0.2 * 0.8 * 5):
        state, _ = jax.jit(model.step)(jax.random.key(1), state, None)
        assert float(state.stage.log_z) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_refinement_before_the_end_takes_the_bound_of_p_itself(key, beta):
    """p = e^5 N(0, 0.8^2 I), p / q <= 1.5625 e^5 for the first flow, and p^b has another Z."""
    std, n = 0.8, 10_000
    log_density = lambda x: norm.logpdf(x, 0, std).sum(1) + 5.0
    model, state = standing(log_density, phase=FIRST, beta=beta, log_z=5 * beta if beta < 1 else 0)
    draw = jax.jit(
        lambda keys, **options: model.sample(keys, state, len(keys), **options),
        static_argnames=("refined", "margin"),
    )
    keys = sample_keys(key, n)
    x = draw(keys, refined=True, margin=1.7)
    assert exact.standard_normal_p_value(x / std) > 5e-7
    assert exact.standard_normal_p_value(draw(keys) / std) < 5e-7
    np.testing.assert_allclose(draw(keys[5:9], refined=True, margin=1.7), x[5:9], rtol=1e-5)


@pytest.mark.parametrize("wrong", [lambda f: f[:, None], jnp.sum, lambda f: f.astype(int)])
def test_densities_of_the_wrong_shape_are_refused(wrong):
    """[B, 1] would broadcast to [B, B] and train in silence."""
    model, state = standing(lambda x: wrong(norm.logpdf(x).sum(1)))
    for use in (model.step, lambda key, state, _: model.sample(key, state, 4, refined=True)):
        with pytest.raises(ConfigError, match="log_density returned .* one number per point"):
            use(jax.random.key(1), state, None)


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
