"""Counts of network calls against calls back to Python, through whatever wraps the network."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

from gen_jax.calls import called, calls_inside, counted, network_call

SEEN = []


def watched(x):
    """x + 1 as a network: every evaluation is recorded in SEEN as it happens."""
    record = lambda: (SEEN.append(1), np.float32(0))[1]
    return called(x + 1 + io_callback(record, jax.ShapeDtypeStruct((), "f")))


def looped(x):
    """One call for each unit of x, in a loop whose test calls it as well."""
    return jax.lax.while_loop(lambda y: watched(y) < 4, watched, x)


PROGRAMS = {
    "none": lambda x: x,
    "closure": lambda x: 2 * watched(x) - watched(0.9 * x),
    "unused": lambda x: (watched(x), x)[1],
    "jit": lambda x: jax.jit(watched)(x) + jax.jit(lambda x: watched(watched(x)))(x),
    "branch": lambda x: jax.lax.cond(x > 0, lambda x: watched(watched(x)), lambda x: x, x),
    "switch": lambda x: jax.lax.switch(2, [jnp.sin, watched, lambda x: watched(watched(x))], x),
    "scan": lambda x: jax.lax.scan(lambda x, a: (watched(x) * a, a), x, jnp.arange(5.0))[0],
    "reverse scan": lambda x: jax.lax.scan(
        lambda x, a: (watched(x) - a, x * a), x, jnp.arange(3.0), reverse=True
    )[1],
    "for": lambda x: jax.lax.fori_loop(0, 4, lambda i, x: watched(x) * i, x),
    "while": looped,
    "branch in a loop": lambda x: jax.lax.fori_loop(
        0, 5, lambda i, x: jax.lax.cond(i % 2 == 0, watched, lambda x: x, x), x
    ),
    "checkpoint": lambda x: jax.checkpoint(lambda x: jnp.sin(watched(x)))(x),
}


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_count_is_that_of_the_evaluations_and_changes_no_value(name, compiled):
    program, x = PROGRAMS[name], jnp.float32(1.3)
    run = counted(program)
    SEEN.clear()
    value, calls = (jax.jit(run) if compiled else run)(x)
    jax.effects_barrier()
    assert int(calls) == len(SEEN)
    assert (len(SEEN) > 0) == (name != "none")
    np.testing.assert_allclose(value, program(x), rtol=1e-6)


def network(x):
    return called(jnp.sin(x) * x)


def test_a_gradient_counts_its_one_evaluation_and_is_right(key):
    x = jax.random.normal(key, (3,))
    for f in (network, jax.jit(network), jax.checkpoint(network)):
        gradient = jax.grad(partial(lambda f, x: f(x).sum(), f))
        value, calls = jax.jit(counted(gradient))(x)
        np.testing.assert_allclose(value, jnp.sin(x) + x * jnp.cos(x), rtol=1e-5)
        assert int(calls) == 1
    # And counting may be differentiated, also through a loop.
    program = counted(lambda x: jax.lax.scan(lambda x, _: (network(x), x), x, None, length=2)[0])
    slope = jax.grad(lambda x: program(x)[0].sum())(x)
    truth = jax.grad(lambda x: (jnp.sin(y := jnp.sin(x) * x) * y).sum())(x)
    np.testing.assert_allclose(slope, truth, rtol=1e-5)


def test_derivatives_and_batching_of_ones_own():
    @jax.custom_vjp
    def doubled(x):
        return 2 * network(x)

    doubled.defvjp(lambda x: (doubled(x), None), lambda _, g: (g,))

    @jax.custom_jvp
    def halved(x):
        return network(x) / 2

    halved.defjvp(lambda x, v: (halved(*x), v[0]))
    both = counted(lambda x: doubled(x) + halved(x))
    value, calls = both(jnp.float32(0.3))
    assert int(calls) == 2
    np.testing.assert_allclose(value, 2.5 * network(jnp.float32(0.3)), rtol=1e-6)
    batch, calls = jax.jit(counted(jax.vmap(lambda x: network(network(x)))))(jnp.ones((5, 2)))
    assert (batch.shape, int(calls)) == ((5, 2), 2)


def test_a_plain_function_is_one_call_and_a_wrapper_what_it_calls():
    plain = lambda x: 2 * x
    count = lambda f: int(counted(f)(jnp.ones(2))[1])
    assert count(plain) == 0
    assert count(network_call(plain)) == 1
    assert count(network_call(network_call(plain))) == 1
    assert count(network_call(network)) == 1
    assert count(network_call(jax.jit(network))) == 1
    assert count(network_call(lambda x: network(x) + network(-x))) == 2
    assert network_call(calls_inside(plain)) is plain
