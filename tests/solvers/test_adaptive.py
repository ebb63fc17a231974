import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

from gen_jax.errors import ConfigError
from gen_jax.solvers import adaptive


def field(x, t):
    return -(x**2) * (1 + t)


def solution(t):
    return 1 / (1 + t + t**2 / 2)


@pytest.mark.parametrize(("start", "stop"), [(0.0, 2.0), (2.0, 0.0)])
@pytest.mark.parametrize("method", adaptive.METHODS)
def test_error_follows_the_tolerance(x64, method, start, stop):
    # Each step adds at most tolerance (1 + |x|), |x| <= 1; going back, the equation expands errors
    # by (x(0) / x(2))^2 = 25 at most.
    growth = 25 if stop < start else 1
    steps = []
    for tolerance in (1e-4, 1e-6, 1e-8, 1e-10):
        last, stats = adaptive.integrate(
            field, solution(start), start, stop, method=method, rtol=tolerance, atol=tolerance
        )
        assert bool(stats.success)
        steps.append(int(stats.num_steps))
        assert abs(float(last) - solution(stop)) < 2 * growth * tolerance * int(stats.num_accepted)
    assert steps == sorted(steps)
    assert steps[-1] > 3 * steps[0]


@pytest.mark.parametrize("first", [0.0, 40.0])
@pytest.mark.parametrize("method", adaptive.METHODS)
def test_calls_are_counted_exactly(method, first):
    # A stiff start (40) makes the solver reject its first steps, which must be counted as well.
    times = []

    def record(t):
        times.append(float(t))
        return np.float32(0)

    def counted(x, t):
        zero = io_callback(record, jax.ShapeDtypeStruct((), jnp.float32), t)
        return -(x**3) + first * jnp.cos(200 * t) + zero

    solve = jax.jit(lambda x: adaptive.integrate(counted, x, 0.0, 1.5, method=method))
    _, stats = jax.block_until_ready(solve(jnp.array([first + 1.0, 3.0])))
    jax.effects_barrier()
    assert int(stats.calls) == len(times)
    assert int(stats.num_accepted) <= int(stats.num_steps)
    if first:
        assert int(stats.num_accepted) < int(stats.num_steps)


@pytest.mark.parametrize("method", adaptive.METHODS)
def test_eager_calls_read_f_again_and_jit_agrees(method, count_traces):
    rate = {"of": 1.0}
    growth = lambda x, t: rate["of"] * x
    for value in (1.0, -2.0):
        rate["of"] = value
        found, _ = adaptive.integrate(growth, 1.0, 0.0, 1.0, method=method)
        np.testing.assert_allclose(found, np.exp(value), rtol=1e-4)
    first, stats = adaptive.integrate(field, jnp.ones(2), 0.0, 1.0, method=method)
    solve = count_traces(lambda x, t: adaptive.integrate(field, x, 0.0, t, method=method))
    compiled = jax.jit(solve)
    for _ in range(3):
        again, stats_again = compiled(jnp.ones(2), 1.0)
    assert solve.calls == 1
    np.testing.assert_allclose(again, first, rtol=1e-6)
    assert int(stats_again.calls) == int(stats.calls)


def test_vmap_gives_each_sample_its_own_steps():
    x = jnp.array([0.1, 1.0, 20.0])
    solve = lambda x: adaptive.integrate(field, x, 0.0, 1.0)
    last, stats = jax.vmap(solve)(x)
    assert len(set(np.asarray(stats.num_steps).tolist())) > 1
    for i in range(3):
        alone, stats_alone = solve(x[i])
        np.testing.assert_allclose(alone, last[i], rtol=1e-6)
        assert int(stats_alone.calls) == int(stats.calls[i])


def test_pytree_state_and_dtype(x64):
    turn = lambda s, t: {"q": s["p"], "p": -s["q"]}
    start = {"q": jnp.array([1.0, 0.0]), "p": jnp.array([0.0, 2.0])}
    end, _ = adaptive.integrate(turn, start, 0.0, np.pi / 2, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(end["q"], [0.0, 2.0], atol=1e-8)
    for dtype in (jnp.float32, jnp.bfloat16):
        single, _ = adaptive.integrate(field, jnp.ones(2, dtype), 0.0, 1.0)
        assert single.dtype == dtype
        np.testing.assert_allclose(single.astype(float), 0.4, rtol=1e-2)


def test_gradient_through_the_solve(x64):
    solve = lambda x: adaptive.integrate(field, x, 0.0, 1.0, rtol=1e-9, atol=1e-9)[0]
    exact = jax.grad(lambda x: 1 / (1 / x + 1.5))(0.8)
    np.testing.assert_allclose(jax.grad(solve)(0.8), exact, rtol=1e-6)


def test_too_few_steps_give_nan_not_a_wrong_value():
    last, stats = adaptive.integrate(field, jnp.ones(2), 0.0, 1.0, max_steps=2)
    assert not bool(stats.success)
    assert np.isnan(last).all()
    assert int(stats.calls) == 1 + 6 * 2


def test_no_distance_is_no_step():
    last, stats = adaptive.integrate(field, jnp.ones(2), 0.5, 0.5)
    np.testing.assert_array_equal(last, 1)
    assert bool(stats.success)
    assert int(stats.calls) == 1


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"method": "dopri"}, "method='dopri' is unknown; did you mean 'dopri5'"),
        ({"rtol": 0.0}, r"rtol=0.0 must be a number in \(0, inf\]"),
        ({"atol": -1.0}, "atol=-1.0"),
        ({"max_steps": 0}, "max_steps=0 must be an integer"),
    ],
)
def test_bad_arguments_are_refused(option, message):
    with pytest.raises(ConfigError, match=message):
        adaptive.integrate(field, jnp.ones(2), 0.0, 1.0, **option)


def test_import_is_light():
    code = (
        "import sys, gen_jax.solvers, gen_jax.divergences\n"
        "heavy = ('diffrax', 'equinox', 'torch', 'tensorflow', 'ott', 'matplotlib')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
