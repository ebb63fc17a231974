"""A model compiles once for each kind of call, and holds its programs."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_model import toy

from gen_jax.checks import one_number
from gen_jax.compiled import PROGRAMS
from gen_jax.errors import ConfigError
from gen_jax.model import GenerativeModel, compiled, sample_in_batches
from gen_jax.randomness import normal, sample_keys

CALLS = {
    "no option": {},
    "one label": {"label": 3},
    "labels": {"label": np.arange(10)},
    "a number and a name": {"scale": 0.5, "name": "other"},
    "an array for all": {"table": jnp.ones(4), "prompt": [1, 2, 3]},
}


@pytest.mark.parametrize("call", CALLS)
def test_equal_calls_are_traced_and_compiled_once(key, compilations, call):
    count = []
    model, state, options = toy(count), jnp.float32(2.0), CALLS[call]
    first = model.sample(key, state, 10, **options)
    another, more = jax.random.fold_in(key, 1), state + 1
    compilations.clear()
    again = [model.sample(key, state, 10, **options) for _ in range(2)]
    other = model.sample(another, more, 10, **options)
    assert (count, compilations) == ([10], [])
    for samples in again:
        np.testing.assert_array_equal(samples, first)
    assert np.abs(other - first).max() > 1e-3


def test_log_prob_is_compiled_for_each_shape_and_its_state_is_an_argument(key, compilations):
    count = []
    model, x = toy(count), np.ones((4, 2), np.float32)
    one = model.log_prob(key, jnp.ones(()), x)
    compilations.clear()
    two = model.log_prob(key, jnp.zeros(()), x, label=None)
    np.testing.assert_array_equal(one, two)
    assert (count, compilations) == ([4], [])
    model.log_prob(key, jnp.ones(()), x[:3])
    model.log_prob(key, jnp.ones(()), x, label=3)
    np.testing.assert_allclose(model.log_prob(key, jnp.ones(()), x, label=5), one + 5)
    assert count == [4, 3, 4]


def test_numbers_of_other_types_are_other_programs(key):
    """1 == 1.0 == True, but not in a function that looks at the type."""
    kind = lambda key, state, n, flag=0: jnp.full(n, len(str(flag)))
    model = compiled(GenerativeModel(None, None, kind))
    draw = lambda value: int(model.sample(key, (), 1, flag=value)[0])
    values = (1, 1.0, True, None, 0.0, -0.0, (1,), (1.0,), (True,))
    assert [draw(value) for value in values] == [len(str(value)) for value in values]


def test_none_is_no_number_of_an_option_that_is_checked(key):
    """Without a check each family says what it takes; the default None stands for no value."""
    check = lambda value, n: float(value)
    sample = lambda key, state, n, scale=1.0, top=None: jnp.full(n, scale)
    model = compiled(
        GenerativeModel(None, None, sample), shared=dict.fromkeys(("scale", "top"), check)
    )
    with pytest.raises(ConfigError, match="scale=None must be a number"):
        model.sample(key, (), 1, scale=None)
    assert model.sample(key, (), 1, top=None) == 1


def test_a_number_for_all_samples_has_no_rows(key):
    """Rows [n, 1] would broadcast in one call, and fail or repeat in batches."""
    sample = lambda key, state, n, scale=1.0: scale * normal(sample_keys(key, n), (2,))
    model = compiled(
        GenerativeModel(None, None, sample), shared={"scale": partial(one_number, "scale")}
    )
    for rows in (np.ones((3, 1)), [1.0, 2.0, 3.0], jnp.ones(1)):
        with pytest.raises(ConfigError, match=r"scale must be one number, got shape"):
            model.sample(key, (), 3, scale=rows)
    np.testing.assert_array_equal(
        model.sample(key, (), 3, scale=jnp.float32(0.5)), model.sample(key, (), 3, scale=0.5)
    )


def test_programs_are_few_and_go_with_the_model(key):
    executables = lambda: len(jax.devices()[0].client.live_executables())
    model, state = toy(), jnp.ones(())
    model.sample(key, state, 1)
    before = executables()
    for scale in range(PROGRAMS + 3):
        model.sample(key, state, 1, scale=float(scale))
    assert executables() <= before + PROGRAMS
    del model
    assert executables() < before


def test_compiled_functions_work_inside_other_transformations(key):
    model, state, label = toy(), jnp.float32(2.0), jnp.arange(3)
    plain = model.sample(key, state, 3, label=label)
    inside = jax.jit(lambda key, state, label: model.sample(key, state, 3, label=label))
    np.testing.assert_allclose(inside(key, state, label), plain, rtol=1e-6)
    keys = jnp.stack([key, jax.random.fold_in(key, 1)])
    each = jax.vmap(lambda key: model.sample(key, state, 3, label=label))(keys)
    np.testing.assert_allclose(each[0], plain, rtol=1e-6)
    shape = jax.eval_shape(lambda state: model.sample(key, state, 3), state)
    assert shape.shape == (3, 2)
    slope = jax.grad(lambda state: model.sample(key, state, 3).sum())(state)
    np.testing.assert_allclose(slope, model.sample(key, jnp.ones(()), 3).sum(), rtol=1e-5)
    with pytest.raises(ConfigError, match="label="):
        jax.jit(lambda key: model.sample(key, state, 3, label=np.array([1, 2, 10])))(key)


def test_a_function_that_closes_over_a_trace_is_not_held(key):
    guided = lambda key, state, n, guide=None: guide(normal(sample_keys(key, n), (2,)))
    model = compiled(GenerativeModel(None, None, guided))
    with jax.checking_leaks():
        run = jax.jit(lambda key, shift: model.sample(key, (), 3, guide=lambda x: x + shift))
        moved = run(key, jnp.float32(2.0))
    whole = model.sample(key, (), 3, guide=lambda x: x)
    np.testing.assert_allclose(moved, whole + 2, rtol=1e-6)


def test_an_option_without_a_hash_works(key):
    model = compiled(GenerativeModel(None, None, lambda key, state, n, size=(): jnp.zeros(size)))
    assert model.sample(key, (), 1, size=[2, 3]).shape == (2, 3)


class Shift:
    """A callable of which an attribute can change."""

    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return x + self.by


class Unhashable(Shift):
    __hash__ = None


@pytest.mark.parametrize("batch_size", [None, 2], ids=["one call", "batches"])
@pytest.mark.parametrize(
    "make",
    [
        lambda shift: lambda x: x + shift.by,
        lambda shift: shift,
        lambda shift: shift.__call__,
        lambda shift: Unhashable(shift.by),
        lambda shift: (lambda x: x + shift.by,),
        lambda shift: jax.tree_util.Partial(lambda x: x + shift.by),
        lambda shift: jax.tree_util.Partial(lambda one, x: x + one * shift.by, jnp.ones(())),
    ],
    ids=["closure", "object", "bound method", "no hash", "tuple", "partial", "partial of arrays"],
)
def test_a_function_that_reads_what_changes_is_read_at_each_call(key, make, batch_size):
    """For one call, or all the batches of one, it is traced once."""
    count = []

    def sample(key, state, n, guide=None):
        count.append(n)
        guide = guide[0] if isinstance(guide, tuple) else guide
        return guide(normal(sample_keys(key, n), ()))

    model, shift = compiled(GenerativeModel(None, None, sample)), Shift(1.0)
    if batch_size is None:
        draw = lambda guide: model.sample(key, (), 4, guide=guide)
    else:
        draw = lambda guide: sample_in_batches(model, key, (), 4, batch_size, guide=guide)
    guide = make(shift)
    first = draw(guide)
    shift.by = 7.0
    if isinstance(guide, Unhashable):
        guide.by = 7.0
    np.testing.assert_allclose(draw(guide), first + 6, rtol=1e-5)
    assert count == [batch_size or 4] * 2


def compiled_ones(names):
    # Not the tracings, which each call has.
    return [name for name in names if "backend_compile" in name]


def test_equal_programs_with_functions_are_compiled_once(key, compilations):
    guided = lambda key, state, n, guide=None: guide(normal(sample_keys(key, n), (2,)))
    model = compiled(GenerativeModel(None, None, guided))

    def draw(shift, key=key, n=3):
        guide = lambda x: jax.nn.softplus(x) @ jnp.asarray(shift)
        return np.asarray(model.sample(key, (), n, guide=guide))

    one, two = np.eye(2, dtype=np.float32), 2 * np.eye(2, dtype=np.float32)
    first, scaled = draw(one), draw(two)
    other = jax.random.fold_in(key, 1)
    compilations.clear()
    np.testing.assert_array_equal(draw(one.copy()), first)
    np.testing.assert_array_equal(draw(two), scaled)
    assert np.abs(np.subtract(draw(one, other), first)).max() > 1e-3
    assert not compiled_ones(compilations)
    np.testing.assert_allclose(scaled, 2 * first, rtol=1e-6)
    assert draw(one, n=4).shape == (4, 2)
    assert compiled_ones(compilations)


def test_constants_inside_of_a_derivative_rule_tell_programs_apart(key):
    """`custom_jvp` keeps what it closes over in a program of its own."""

    def draw(value):
        inner = jax.custom_jvp(lambda x: x + jnp.float32(value))
        inner.defjvp(lambda primals, tangents: (inner(*primals), tangents[0]))
        return model.sample(key, (), 2, guide=inner)

    guided = lambda key, state, n, guide=None: guide(jnp.zeros((n, 2)))
    model = compiled(GenerativeModel(None, None, guided))
    for value in ([1.0, 2.0], [3.0, 4.0], [1.0, 2.0]):
        np.testing.assert_array_equal(draw(value), [value, value])


def test_a_large_program_with_a_function_is_not_held(key, monkeypatch):
    monkeypatch.setattr("gen_jax.compiled.MAX_TEXT", 100)
    executables = lambda: len(jax.devices()[0].client.live_executables())
    guided = lambda key, state, n, guide=None: guide(normal(sample_keys(key, n), ()))
    model = compiled(GenerativeModel(None, None, guided))
    model.sample(key, (), 3, guide=lambda x: x)
    before = executables()
    for _ in range(3):
        model.sample(key, (), 3, guide=lambda x: x)
    assert executables() <= before


@pytest.mark.parametrize(
    "value", [2, 0.5, True, "name", None, np.float32(2), jnp.float32, np.dtype("int8"), (1, ("a",))]
)
def test_programs_of_plain_options_are_held(key, value):
    count = []

    def sample(key, state, n, option=()):
        count.append(option)
        return jnp.zeros(n)

    model = compiled(GenerativeModel(None, None, sample))
    for _ in range(3):
        model.sample(key, (), 2, option=value)
    assert count == [value]
