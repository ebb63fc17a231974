"""The contract's helpers: keys of samples, compiled functions, samples in batches."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.compiled import PROGRAMS
from gen_jax.conditions import labels
from gen_jax.errors import ConfigError, DataError
from gen_jax.model import GenerativeModel, compiled, sample_in_batches
from gen_jax.randomness import fold_in, normal, sample_keys


def data(keys):
    return np.asarray(jax.random.key_data(keys))


def test_sample_keys_are_distinct_and_do_not_depend_on_their_number(key):
    keys = sample_keys(key, 100)
    assert len(np.unique(data(keys), axis=0)) == 100
    np.testing.assert_array_equal(data(sample_keys(key, 7)), data(keys)[:7])
    np.testing.assert_array_equal(data(sample_keys(keys, 100)), data(keys))


def test_fold_in_gives_each_use_its_own_keys(key):
    keys = sample_keys(key, 3)
    uses = np.concatenate([data(fold_in(keys, i)) for i in range(4)] + [data(keys)])
    assert len(np.unique(uses, axis=0)) == 15
    alone = fold_in(keys[1:2], jnp.int32(2))
    np.testing.assert_array_equal(data(alone)[0], data(fold_in(keys, 2))[1])


def test_normal_draws_each_sample_from_its_key(key):
    keys = sample_keys(key, 4)
    z = normal(keys, (2, 3))
    assert (z.shape, z.dtype) == ((4, 2, 3), jnp.float32)
    np.testing.assert_array_equal(normal(keys[2:3], (2, 3))[0], z[2])
    assert normal(keys, (), jnp.bfloat16).dtype == jnp.bfloat16


def prompts(value, n):
    """Rows [n, 3] of one prompt [3] or n of them."""
    if jnp.shape(value) not in ((3,), (n, 3)):
        raise ConfigError(f"prompt of shape {jnp.shape(value)}")
    return jnp.broadcast_to(jnp.asarray(value), (n, 3))


def toy(count=None, classes=10):
    """A model whose sample shows its key, its label and the scale it was given."""

    def sample(key, state, n, *, label=None, scale=1.0, name="none", prompt=None, table=None):
        """Toy samples."""
        if count is not None:
            count.append(n)
        z = scale * state * normal(sample_keys(key, n), (2,))
        z = z if label is None else z + 10 * jnp.broadcast_to(label, (n,))[:, None]
        z = z if prompt is None else z + prompts(prompt, n).sum(1, keepdims=True)
        z = z if table is None else z + table.sum()
        return z if name == "none" else -z

    def log_prob(key, state, x, label=None):
        if count is not None:
            count.append(len(x))
        return -jnp.sum(x**2, -1) + (0 if label is None else label)

    def encode(key, x):
        if not isinstance(x, jax.core.Tracer) and x.max() > 5:
            raise DataError(f"data up to {x.max()} (allowed: 5)")

    return compiled(
        GenerativeModel(lambda key, batch: jnp.ones(()), None, sample, log_prob, "exact"),
        per_sample={"label": labels(classes).checked, "prompt": prompts},
        shared=("table",),
        encode=encode,
    )


def test_a_model_declares_its_conditions():
    kinds = {"label": "per sample", "prompt": "per sample", "table": "shared"}
    assert toy().conditions == {"scale": "static", "name": "static", **kinds}
    assert toy().sample.__name__ == "sample"
    assert toy().sample.__doc__.startswith("Toy samples.\n\nOptions of this model: label (per")
    assert list(inspect.signature(toy().sample).parameters)[:4] == ["key", "state", "n", "label"]
    by_hand = GenerativeModel(None, None, lambda key, state, n, a=0: a, conditions={"a": "shared"})
    assert compiled(by_hand).conditions == {"a": "shared"}
    assert compiled(toy()).sample is not toy().sample
    model = toy()
    assert compiled(model) == model


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


def test_values_are_checked_before_a_program_is_traced(key):
    count = []
    model, state = toy(count), jnp.ones(())
    wrong = {
        "label=10": {"label": 10},
        r"label=\[-1": {"label": jnp.full(4, -1)},
        r"shape \[4\]": {"label": jnp.arange(3)},
        "prompt of shape": {"prompt": jnp.ones(2)},
        "option='labels' is unknown; did you mean 'label'": {"labels": 3},
    }
    for words, option in wrong.items():
        with pytest.raises(ConfigError, match=words):
            model.sample(key, state, 4, **option)
    with pytest.raises(ConfigError, match="option='scale' is unknown"):
        model.log_prob(key, state, jnp.ones((4, 2)), scale=2.0)
    with pytest.raises(DataError, match="allowed: 5"):
        model.log_prob(key, state, 6 * jnp.ones((4, 2)))
    for n in (0, -1, 2.5, "3", None, True, jnp.int32(3)):
        with pytest.raises(ConfigError, match="n="):
            model.sample(key, state, n)
    assert count == []


def test_a_model_that_draws_nothing_takes_no_key():
    draw, score = lambda key, state, n: jnp.zeros(n), lambda key, state, x: x.sum(1)
    model = compiled(GenerativeModel(None, None, draw, score))
    np.testing.assert_array_equal(model.log_prob(None, (), jnp.ones((2, 3))), [3, 3])


def test_a_model_is_a_static_argument(key):
    run = jax.jit(lambda model, key: model.sample(key, (), 2), static_argnums=0)
    draw = lambda key, state, n, *, label=None: jnp.zeros(n)
    model = compiled(GenerativeModel(None, None, draw), per_sample={"label": lambda v, n: v})
    assert run(model, key).shape == (2,)
    assert hash(model) == hash(model._replace())
    assert hash(model._replace(parts={"no": "hash"})) == hash(model)


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


def test_a_program_with_a_function_is_not_held(key):
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


@pytest.mark.parametrize("batch_size", [1, 3, 7, 10, 64])
def test_batches_give_the_same_samples_as_one_call(key, batch_size):
    model, state = toy(), jnp.float32(2.0)
    conditions = {"label": jnp.arange(10), "scale": 0.5, "name": "other", "prompt": [1, 2, 3]}
    whole = model.sample(key, state, 10, **conditions)
    parts = sample_in_batches(model, key, state, 10, batch_size, **conditions)
    np.testing.assert_allclose(parts, whole, rtol=1e-6)
    one_label = sample_in_batches(model, key, state, 10, batch_size, label=3)
    np.testing.assert_allclose(one_label, model.sample(key, state, 10, label=3), rtol=1e-6)


def test_batches_compile_once_and_are_held_by_the_model(key, compilations):
    count = []
    model = toy(count)
    draw = lambda seed: sample_in_batches(
        model, jax.random.key(seed), jnp.ones(()), 10, 4, label=jnp.arange(10)
    )
    draw(1)
    compilations.clear()
    draw(2)
    assert (count, compilations) == ([4], [])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5])
def test_what_has_as_many_rows_as_samples_is_cut_only_if_it_belongs_to_them(key, batch_size):
    model, state = toy(), jnp.ones(())
    options = {"prompt": jnp.array([7, 8, 9]), "table": jnp.arange(3.0)}
    whole = model.sample(key, state, 3, **options)
    parts = sample_in_batches(model, key, state, 3, batch_size, **options)
    np.testing.assert_allclose(parts, whole, rtol=1e-6)
    each = jnp.arange(9).reshape(3, 3)
    parts = sample_in_batches(model, key, state, 3, batch_size, prompt=each)
    np.testing.assert_allclose(parts, model.sample(key, state, 3, prompt=each), rtol=1e-6)
    with pytest.raises(ConfigError, match=r"scale has 3 rows.*'per sample' or 'shared'"):
        sample_in_batches(model, key, state, 3, batch_size, scale=jnp.ones((3, 1)))


def test_models_that_are_not_compiled_are_drawn_in_batches_too(key):
    sample = lambda key, state, n, *, label=None: normal(sample_keys(key, n), ()) + label
    bare = GenerativeModel(None, None, sample)
    with pytest.raises(ConfigError, match="label has 4 rows"):
        sample_in_batches(bare, key, (), 4, 2, label=jnp.arange(4))
    declared = bare._replace(conditions={"label": "per sample"})
    parts = sample_in_batches(declared, key, (), 4, 2, label=jnp.arange(4))
    np.testing.assert_allclose(parts, sample(key, (), 4, label=jnp.arange(4)), rtol=1e-6)


def test_a_model_that_is_not_compiled_holds_its_batches(key, compilations):
    bare = GenerativeModel(None, None, lambda key, state, n: normal(sample_keys(key, n), ()))
    sample_in_batches(bare, key, (), 5, 2)
    compilations.clear()
    sample_in_batches(bare, jax.random.fold_in(key, 1), (), 5, 2)
    assert compilations == []


def test_batches_refuse_what_they_cannot_join(key):
    both = lambda key, state, n, info=False: (jnp.zeros(n), 3) if info else jnp.zeros(n)
    model = compiled(GenerativeModel(None, None, both))
    with pytest.raises(ConfigError, match="more than samples.*info"):
        sample_in_batches(model, key, (), 4, 2, info=True)
    for size in (0, -1):
        with pytest.raises(ConfigError, match="batch_size="):
            sample_in_batches(model, key, (), 4, size)
    far = jnp.arange(4.0)
    guided = lambda key, state, n, guide=None: guide(normal(sample_keys(key, n), ()))
    model = compiled(GenerativeModel(None, None, guided))
    with pytest.raises(ConfigError, match="guide.*batch of 3 of the 4 samples"):
        sample_in_batches(model, key, (), 4, 3, guide=lambda x: x + far)
    whole = sample_in_batches(model, key, (), 4, 4, guide=lambda x: x + far)
    np.testing.assert_allclose(whole, model.sample(key, (), 4, guide=lambda x: x + far))


def test_a_reused_key_would_be_seen(key):
    """Planted: the same key for every batch gives the first batch again."""
    model, state = toy(), jnp.ones(())
    right = sample_in_batches(model, key, state, 8, 4)
    wrong = jnp.concatenate([model.sample(key, state, 4)] * 2)
    assert np.abs(right - wrong).max() > 0.1


def test_an_implicit_model_says_so():
    model = compiled(GenerativeModel(None, None, lambda key, state, n: jnp.zeros(n)))
    assert model.log_prob is None
    assert model.log_prob_kind == "none"


def _needs_its_state():
    """A model whose functions read a field of the state, compiled and not."""
    mean = lambda state: state["mean"]
    model = GenerativeModel(
        lambda key, batch: {"mean": batch["x"].mean(0)},
        lambda key, state, batch: (state, {"loss": (mean(state) * batch["x"]).sum()}),
        lambda key, state, n: jnp.zeros((n, 2)) + mean(state),
        lambda key, state, x: (x - mean(state)).sum(-1),
    )
    return [model, compiled(model)]


@pytest.mark.parametrize("model", _needs_its_state(), ids=["plain", "compiled"])
def test_doors_name_what_is_empty_or_none(model):
    key, x = jax.random.key(0), jnp.ones((3, 2))
    state = model.init(key, {"x": x})
    wrong = [("n=", lambda: model.sample(key, state, 10**12))]
    for empty in ({"x": x[:0]}, {"z": x}, {"x": x, "y": jnp.zeros(0)}):
        wrong.append(("batch", lambda empty=empty: model.init(key, empty)))
        wrong.append(("batch", lambda empty=empty: model.step(key, state, empty)))
    wrong.append(("x has shape", lambda: model.log_prob(key, state, x[:0])))
    for none in (None, 3, {}):
        wrong.append(("state=", lambda none=none: model.step(key, none, {"x": x})))
        wrong.append(("state=", lambda none=none: model.sample(key, none, 2)))
        wrong.append(("state=", lambda none=none: model.log_prob(key, none, x)))
    for words, call in wrong:
        with pytest.raises((ConfigError, DataError)) as caught:
            call()
        assert str(caught.value).startswith(words)
        assert "\n" not in str(caught.value)
    assert model.log_prob(key, state, x[:1]).shape == (1,)
