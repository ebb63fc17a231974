"""Continuous flows on a linear field, whose solution is a matrix exponential; FFJORD as a model."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.linalg import expm

from gen_jax import conditions, flows
from gen_jax.errors import ConfigError
from gen_jax.flows.continuous import to_base, to_data

A = np.array([[0.5, -1.2], [0.9, -0.8]])
KEY = jax.random.key(0)


def field(x, t):
    """dx/dt = (1 + t) A x: x(1) = expm(1.5 A) x(0), log det = 1.5 tr A."""
    return (1 + t) * x @ A.T


def test_solution_log_determinant_and_regularisers_of_a_linear_field(x64):
    x = jax.random.normal(KEY, (5, 2), jnp.float64)
    probe = jnp.tile(jnp.array([1.0, -1.0]), (5, 1))
    run = lambda kind: to_base(field, x, probe, num_steps=32, divergence=kind, regularised=True)
    way = run("exact")
    np.testing.assert_allclose(way.z, x @ expm(1.5 * A).T, atol=1e-6)
    np.testing.assert_allclose(way.log_det, 1.5 * np.trace(A), atol=1e-12)
    np.testing.assert_allclose(to_data(field, way.z, num_steps=32), x, atol=1e-6)
    # |(1 + t) A z|^2 integrates to (7/3) |A z|^2; the probe's mean over signs is the norm of A.
    np.testing.assert_allclose(way.jacobian, 7 / 3 * np.sum((A @ probe[0]) ** 2), rtol=1e-9)
    other = to_base(field, x, jnp.ones((5, 2)), num_steps=32, regularised=True)
    mean = (way.jacobian + other.jacobian) / 2
    np.testing.assert_allclose(mean, 7 / 3 * np.sum(A**2), rtol=1e-9)
    both = (
        run("hutchinson").log_det
        + to_base(field, x, jnp.ones((5, 2)), num_steps=32, divergence="hutchinson").log_det
    )
    np.testing.assert_allclose(both / 2, 1.5 * np.trace(A), atol=1e-12)
    # The speed along the exact path, by a fine sum.
    t = (np.arange(4000) + 0.5) / 4000
    path = [expm(A * (s + s**2 / 2)) @ np.asarray(x[0]) for s in t[::10]]
    speed = [np.sum(((1 + s) * A @ p) ** 2) for s, p in zip(t[::10], path)]
    assert float(way.kinetic[0]) == pytest.approx(np.mean(speed), rel=5e-3)


def test_the_way_back_errs_with_the_fourth_power_of_the_step(x64):
    x = jax.random.normal(KEY, (5, 2), jnp.float64)
    error = lambda n: np.abs(
        to_data(field, to_base(field, x, x, num_steps=n).z, num_steps=n) - x
    ).max()
    slope = -np.polyfit(np.log([16, 32, 64]), np.log([error(n) for n in (16, 32, 64)]), 1)[0]
    assert slope > 3.8


@pytest.mark.parametrize("times", [(0, 1), (1, 0)])
def test_one_program_serves_all_numbers_of_steps(x64, times):
    x, sign = jax.random.normal(KEY, (5, 2), jnp.float64), times[1] - times[0]
    traced = []
    solve = jax.jit(lambda n: traced.append(n) or to_base(field, x, x, num_steps=n, times=times))
    for n, atol in ((6, 1e-2), (32, 1e-5)):
        way = solve(np.asarray(n))
        np.testing.assert_allclose(way.z, x @ expm(sign * 1.5 * A).T, atol=atol)
        np.testing.assert_allclose(way.log_det, sign * 1.5 * np.trace(A), atol=1e-12)
        known = to_base(field, x, x, num_steps=n, times=times)
        np.testing.assert_allclose(way.z, known.z, rtol=1e-13)
    assert len(traced) == 1


@pytest.fixture(scope="module")
def trained():
    """FFJORD with labels on two Gaussians, 150 steps."""
    key_x, key_y = jax.random.split(KEY)
    y = jax.random.randint(key_y, (512,), 0, 2)
    x = jnp.where(y[:, None] == 1, 1.5, -1.5) + 0.5 * jax.random.normal(key_x, (512, 2))
    model = flows.ffjord(
        optax.adam(0.02),
        shape=(2,),
        hidden=(16, 16),
        num_steps=4,
        kinetic=0.01,
        jacobian=0.01,
        condition=conditions.labels(2),
        ema_decay=0.9,
    )
    batch = {"x": x, "y": y}
    state = model.init(KEY, batch)
    run = lambda state, key: model.step(key, state, batch)
    state, metrics = jax.jit(lambda s: jax.lax.scan(run, s, jax.random.split(KEY, 150)))(state)
    return model, state, batch, metrics


def test_ffjord_fits_and_integrates_to_one(trained):
    model, state, _, metrics = trained
    assert metrics["log_prob"][0] < -4
    assert metrics["log_prob"][-1] > -2.0  # the exact value is -1.45
    assert metrics["kinetic"][-1] > 0
    line = np.linspace(-6, 6, 61)
    points = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2).astype(np.float32)
    score = jax.jit(lambda label: model.log_prob(KEY, state, points, label=label, num_steps=16))
    for label in (0, 1):
        total = np.exp(np.asarray(score(label), np.float64)).sum() * (line[1] - line[0]) ** 2
        assert total == pytest.approx(1, abs=0.01)
    drawn = np.asarray(model.sample(KEY, state, 200, label=1))
    assert np.linalg.norm(drawn.mean(0) - 1.5) < 0.4
    assert model.log_prob_kind == "estimate"


def test_hutchinson_agrees_with_the_exact_trace_in_the_mean(trained):
    model, state, batch, _ = trained
    x = jnp.repeat(batch["x"][:4], 500, 0)
    labels = jnp.repeat(batch["y"][:4], 500)
    score = lambda kind, x, y: jax.jit(
        lambda: model.log_prob(KEY, state, x, label=y, divergence=kind, num_steps=8)
    )()
    rough = np.asarray(score("hutchinson", x, labels), np.float64).reshape(4, 500)
    exact = np.asarray(score("exact", batch["x"][:4], batch["y"][:4]))
    error = rough.std(1) / 500**0.5
    assert np.all(np.abs(rough.mean(1) - exact) < 5 * error + 1e-5)


def test_the_bijector_of_a_trained_ffjord(trained):
    """Its log-determinants by autodiff, up to the solver's error."""
    model, state, batch, _ = trained
    of_label, x = flows.bijector(model, state, label=batch["y"][:3]), batch["x"][:3]
    for go, start in ((of_label.inverse, x), (of_label.forward, of_label.inverse(x)[0])):
        out, log_det = jax.jit(go)(start)
        whole = jax.jit(jax.jacfwd(lambda x, go=go: go(x)[0]))(start)
        jacobian = jnp.einsum("bibj->bij", whole)
        np.testing.assert_allclose(log_det, jnp.linalg.slogdet(jacobian)[1], atol=2e-3)
    np.testing.assert_allclose(out, x, atol=2e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 0}, "num_steps=0"),
        ({"method": "rk5"}, "method='rk5'"),
        ({"divergence": "trace"}, "divergence='trace'"),
        ({"kinetic": -1.0}, "kinetic=-1"),
    ],
)
def test_bad_options_of_ffjord(options, message):
    with pytest.raises(ConfigError, match=message):
        flows.ffjord(optax.sgd(0.1), shape=(2,), **options)
