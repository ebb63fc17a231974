import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.errors import ConfigError
from gen_jax.solvers import SOLVERS, TABLEAUS, adaptive, ode, rk_step, sde


def field(x, t):
    return -(x**2) * (1 + t)


def solution(t, x0=1.0):
    return 1 / (1 / x0 + t + t**2 / 2)


def order(method, start, stop, steps):
    """Slope of log error against log step, from the exact state at `start`."""
    errors = []
    for n in steps:
        last = ode.integrate(field, solution(start), jnp.linspace(start, stop, n + 1), method)
        errors.append(abs(float(last - solution(stop))))
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


@pytest.mark.parametrize(("start", "stop"), [(0.0, 1.0), (1.0, 0.0)])
@pytest.mark.parametrize("method", TABLEAUS)
def test_order_of_convergence(x64, method, start, stop):
    steps = [16, 32, 64, 128] if method == "rk4" else [128, 256, 512, 1024]
    assert abs(order(method, start, stop, steps) - TABLEAUS[method].order) < 0.1


@pytest.mark.parametrize("method", TABLEAUS)
def test_order_conditions(method):
    tableau = TABLEAUS[method]
    stages = len(tableau.b)
    a = np.array([(*row, *[0.0] * (stages - len(row))) for row in tableau.a])
    b, c = np.array(tableau.b), np.array(tableau.c)
    assert [len(row) for row in tableau.a] == list(range(stages))
    np.testing.assert_allclose(a.sum(1), c, atol=1e-15)
    conditions = {
        1: [(b.sum(), 1)],
        2: [(b @ c, 1 / 2)],
        3: [(b @ c**2, 1 / 3), (b @ a @ c, 1 / 6)],
        4: [(b @ c**3, 1 / 4), ((b * c) @ a @ c, 1 / 8)]
        + [(b @ a @ c**2, 1 / 12), (b @ a @ a @ c, 1 / 24)],
    }
    residual = {
        p: max(abs(value - target) for value, target in pairs) for p, pairs in conditions.items()
    }
    assert all(residual[p] < 1e-15 for p in range(1, tableau.order + 1))
    if tableau.order < 4:
        assert residual[tableau.order + 1] > 0.01


@pytest.mark.parametrize("method", TABLEAUS)
def test_one_call_per_stage_and_one_trace(method, count_traces):
    f = count_traces(field)
    rk_step(TABLEAUS[method], f, jnp.ones(3), 0.0, 0.1)
    assert f.calls == len(TABLEAUS[method].b)
    solve = count_traces(lambda x, ts: ode.integrate(field, x, ts, method))
    compiled = jax.jit(solve)
    for scale in (1.0, 2.0, 3.0):
        compiled(scale * jnp.ones(3), jnp.linspace(0, scale, 9))
    assert solve.calls == 1


@pytest.mark.parametrize("method", TABLEAUS)
def test_trajectory_holds_every_state(method):
    ts = jnp.linspace(1, 0, 7)
    x = jnp.array([1.0, 0.5])
    states = ode.integrate(field, x, ts, method, trajectory=True)
    assert states.shape == (7, 2)
    np.testing.assert_array_equal(states[0], x)
    np.testing.assert_allclose(states[-1], ode.integrate(field, x, ts, method), rtol=1e-6)
    np.testing.assert_allclose(states[3], ode.integrate(field, x, ts[:4], method), rtol=1e-6)


def test_pytree_state_is_a_rotation(x64):
    turn = lambda s, t: {"q": s["p"], "p": -s["q"]}
    start = {"q": jnp.array([1.0, 0.0]), "p": jnp.array([0.0, 2.0])}
    end = ode.integrate(turn, start, jnp.linspace(0, np.pi / 2, 401), "rk4")
    np.testing.assert_allclose(end["q"], [0.0, 2.0], atol=1e-10)
    np.testing.assert_allclose(end["p"], [-1.0, 0.0], atol=1e-10)


def test_state_keeps_its_dtype():
    ts = jnp.linspace(0, 1, 5)
    for dtype in (jnp.bfloat16, jnp.float32):
        x = ode.integrate(lambda x, t: -x.astype(jnp.float32), jnp.ones(2, dtype), ts)
        assert x.dtype == dtype
    assert ode.integrate(field, 1, ts).dtype == jnp.float32  # an integer becomes a float
    np.testing.assert_allclose(ode.integrate(field, 1, ts, "rk4"), 0.4, rtol=1e-3)


def test_single_step_is_rk_step():
    x = jnp.array([0.3, 1.2])
    one = rk_step(TABLEAUS["heun"], field, x, 0.2, 0.3)
    np.testing.assert_allclose(
        ode.integrate(field, x, jnp.array([0.2, 0.5]), "heun"), one, rtol=1e-6
    )


@pytest.mark.parametrize("method", TABLEAUS)
def test_batch_independence_jit_and_vmap(method, key):
    x = jax.random.uniform(key, (5, 2))
    ts = jnp.linspace(0, 1, 9)
    solve = lambda x: ode.integrate(field, x, ts, method)
    whole = solve(x)
    np.testing.assert_allclose(solve(x[2:3])[0], whole[2], rtol=1e-6)
    np.testing.assert_allclose(jax.jit(solve)(x), whole, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(solve)(x), whole, rtol=1e-6)


def test_gradient_through_the_solve(x64):
    gradient = jax.grad(lambda x: ode.integrate(field, x, jnp.linspace(0, 1, 65), "rk4"))(0.8)
    exact = jax.grad(lambda x: solution(1.0, x))(0.8)
    np.testing.assert_allclose(gradient, exact, rtol=1e-7)


def test_one_program_takes_any_number_of_steps(x64, count_traces):
    """Errors of fourth order at each number; a gradient by forward mode, not by reverse."""
    solve = count_traces(lambda x, n: ode.integrate_steps(field, x, lambda i: i / n, n, "rk4"))
    compiled = jax.jit(solve)
    errors = [abs(compiled(1.0, np.asarray(n)) - solution(1.0)) for n in (16, 32, 64, 128)]
    assert solve.calls == 1
    assert abs(np.polyfit(np.log2([16, 32, 64, 128]), np.log2(errors), 1)[0] + 4) < 0.1
    for n in (1, 7):
        times = jnp.linspace(0, 1, n + 1)
        known = ode.integrate(field, 1.0, times, "rk4")
        np.testing.assert_allclose(compiled(1.0, np.asarray(n)), known, rtol=1e-14)
        np.testing.assert_allclose(solve(1.0, n), known, rtol=1e-14)
    exact = jax.grad(lambda x: solution(1.0, x))(0.8)
    n = jnp.asarray(64)
    np.testing.assert_allclose(jax.jacfwd(compiled)(0.8, n), exact, rtol=1e-7)
    np.testing.assert_allclose(jax.grad(lambda x: solve(x, 64))(0.8), exact, rtol=1e-7)
    with pytest.raises(ValueError, match="Reverse-mode"):
        jax.grad(compiled)(0.8, n)
    assert np.isnan(compiled(1.0, np.asarray(0)))
    for wrong in (0, -1, 2.0, True, np.asarray(0), np.ones(2, int), np.asarray(2.0)):
        with pytest.raises(ConfigError, match="num_steps="):
            ode.as_steps(wrong)


def test_unknown_method_is_refused():
    with pytest.raises(ConfigError, match="method='huen' is unknown; did you mean 'heun'"):
        ode.integrate(field, jnp.ones(2), jnp.linspace(0, 1, 3), "huen")


def test_registry_names_every_solver():
    assert set(SOLVERS) == {*ode.TABLEAUS, *sde.SOLVERS, *adaptive.METHODS}
    ts = jnp.linspace(0, 1, 33)
    np.testing.assert_allclose(SOLVERS["rk4"](field, jnp.ones(1), ts), 0.4, rtol=1e-5)
    last, _ = SOLVERS["tsit5"](field, jnp.ones(1), 0.0, 1.0)
    np.testing.assert_allclose(last, 0.4, rtol=1e-3)
