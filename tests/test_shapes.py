"""Arrays of other shapes than the annotations name are refused, none is broadcast in silence."""

import importlib
import inspect
import pkgutil
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gen_jax
from gen_jax import diffusion, discrete_diffusion, energy, flow_matching, paths, transport
from gen_jax.annotations import shaped
from gen_jax.checks import as_times
from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float, Int

SIZES = {"B": 4, "N": 5, "V": 3, "D": 6, "K": 3, "n": 4, "m": 5, "k": 6}


def shaped_functions():
    """`PACKAGE.NAME` -> every public function that `shaped` guards."""
    found = {}
    for module in pkgutil.iter_modules(gen_jax.__path__):
        package = importlib.import_module(f"gen_jax.{module.name}")
        for name, function in vars(package).items():
            if getattr(function, "shaped", False) is True and not name.startswith("_"):
                found[f"{module.name}.{name}"] = function
    return found


FUNCTIONS = shaped_functions()


def shape_of(form):
    """Sizes of the axes of an annotation; "*D" is an image's."""
    return sum((((2, 3) if axis[0] == "*" else (SIZES[axis],)) for axis in form.split()), ())


def arrays_of(function):
    """An array for every annotated argument, and its form."""
    kinds = {p.name: p.annotation for p in inspect.signature(function).parameters.values()}
    forms = {name: kind.dim_str for name, kind in kinds.items() if hasattr(kind, "dim_str")}
    dtype = lambda kind: jnp.int32 if "int32" in kind.dtypes else jnp.float32
    return {
        name: (jnp.full(shape_of(form), 0.5).astype(dtype(kinds[name])), form)
        for name, form in forms.items()
        if "prng_key" not in kinds[name].dtypes and "bool" not in kinds[name].dtypes
    }


def test_the_losses_of_all_families_are_guarded():
    names = {name.split(".")[0] for name in FUNCTIONS}
    assert {"diffusion", "flow_matching", "discrete_diffusion", "transport", "paths"} <= names
    losses = {f"flow_matching.{n}" for n in vars(flow_matching) if n.endswith("_loss")}
    assert losses <= FUNCTIONS.keys()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_another_shape_is_refused_before_anything_is_computed(name):
    function, arrays = FUNCTIONS[name], arrays_of(FUNCTIONS[name])
    others = {p: None for p in inspect.signature(function).parameters if p not in arrays}
    valid = others | {argument: array for argument, (array, _) in arrays.items()}
    count = Counter(axis for _, form in arrays.values() for axis in form.split())
    for argument, (array, form) in arrays.items():
        first, last = form.split()[0], form.split()[-1]
        wrong = [array[..., None]] if "*" not in last or count[last] > 1 else []
        wrong += [array[:1]] * (count[first] > 1) + [array[..., :1]] * (count[last] > 1)
        for other in wrong:
            with pytest.raises(ConfigError, match="has shape"):
                function(**valid | {argument: other})


def test_a_loss_is_not_of_broadcast_data():
    """The same numbers, that a row of noise for all examples gave, or a column of densities."""
    x, t = jnp.ones((2, 3)), jnp.full(2, 0.5)
    still = lambda x, t: 0 * x
    with pytest.raises(ConfigError, match=r"eps has shape \(1, 3\), must be \[B, \*D\], B = 2"):
        diffusion.denoising_loss(still, paths.linear(), x, x[:1], t)
    with pytest.raises(ConfigError, match=r"x1 has shape \(2, 1\)"):
        flow_matching.conditional_flow_matching_loss(still, paths.linear(), x, x[:, :1], t)
    with pytest.raises(ConfigError, match=r"log_p has shape \(2, 1\), must be \[B\], B = 2"):
        transport.forward_kl_loss(t, t[:, None], t)


@pytest.mark.parametrize("t", [500, 1.0001, -1e-6, np.nan, [0.5, 2.0]])
def test_times_lie_between_data_and_noise(t):
    """Numbers of steps, such as 500 of 1,000, are no times."""
    x, still = jnp.ones((2, 3)), lambda x, t: 0 * x
    with pytest.raises(ConfigError, match=r"t holds .*, must lie in \[0, 1\]"):
        diffusion.denoising_loss(still, paths.linear(), x, x, jnp.asarray(t))
    with pytest.raises(ConfigError, match=r"t holds"):
        flow_matching.conditional_flow_matching_loss(still, paths.linear(), x, x, jnp.asarray(t))
    noise = discrete_diffusion.absorbing(3)
    with pytest.raises(ConfigError, match=r"t holds"):
        discrete_diffusion.corrupt(jax.random.key(0), noise, jnp.zeros((2, 4), int), jnp.asarray(t))


def test_one_time_stands_for_all_examples_and_ends_are_allowed():
    x, path = jnp.arange(6.0).reshape(2, 3), paths.linear()
    loss = lambda t: diffusion.denoising_loss(lambda x, t: 0 * x, path, x, x, t)[0]
    for t in (0.0, 0.5, 1.0):
        np.testing.assert_array_equal(loss(t), loss(jnp.full(2, t)))
    np.testing.assert_array_equal(loss([0.25, 0.75]), loss(jnp.array([0.25, 0.75])))


def test_token_laws_are_of_the_paths_tokens_and_steps_go_to_the_data():
    noise, tokens = discrete_diffusion.absorbing(3), jnp.zeros((2, 4), int)
    law, t = jnp.full((2, 4, 4), -jnp.log(4.0)), jnp.full(2, 0.5)
    for function in (discrete_diffusion.reverse, discrete_diffusion.ratios):
        times = (t, t / 2) if function is discrete_diffusion.reverse else (t,)
        with pytest.raises(ConfigError, match=r"log_x0 has shape \(2, 4, 3\).* V = 4"):
            function(noise, law[..., :3], tokens, *times)
    with pytest.raises(ConfigError, match="log_x0 has shape"):
        discrete_diffusion.rate_term(noise, law[..., :3], tokens, tokens, t)
    with pytest.raises(ConfigError, match="s is the cleaner time"):
        discrete_diffusion.reverse(noise, law, tokens, t / 2, t)


def test_what_is_traced_is_checked_by_its_shape():
    @shaped("t")
    def product(x: Float[Array, "B *D"], index: Int[Array, "B"], t: Float[Array, "B"]):
        return x[:, 0] * t + index

    given = jnp.ones((2, 3)), jnp.arange(2), jnp.full(2, 3.0)
    np.testing.assert_array_equal(jax.jit(product)(*given), [3, 4])  # the value is not known
    with pytest.raises(ConfigError, match="index has shape"):
        jax.jit(product)(given[0], jnp.arange(3), given[2])
    np.testing.assert_array_equal(jax.jit(product)(*given[:2], 0.5), [0.5, 1.5])


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray, np.float32, float])
def test_times_that_are_known_are_checked_inside_jit(kind):
    """Those that a trace holds as constants: whole axes, and one number for all examples."""
    noise, tokens = discrete_diffusion.absorbing(3), jnp.zeros((2, 4), int)
    law = jnp.full((2, 4, 4), -jnp.log(4.0))
    value = kind if kind in (float, np.float32) else lambda t: kind([t, t])
    early, late, outside = value(0.25), value(0.5), value(1.5)
    reverse = lambda t, s: jax.jit(lambda x: discrete_diffusion.reverse(noise, x, tokens, t, s))
    with pytest.raises(ConfigError, match="s is the cleaner time"):
        reverse(early, late)(law)
    with pytest.raises(ConfigError, match=r"t holds 1.5, must lie in \[0, 1\]"):
        reverse(outside, early)(law)
    plain = discrete_diffusion.reverse(noise, law, tokens, late, early)
    np.testing.assert_allclose(reverse(late, early)(law), plain, rtol=1e-5)


@pytest.mark.parametrize("times", [np.array([0.5, 1.0, 0.0]), [2.0, 0.0]])
def test_grids_of_times_that_are_known_are_checked_inside_jit(times):
    with pytest.raises(ConfigError, match="times must fall"):
        jax.jit(lambda x: x + as_times(times)[0])(1.0)
    assert jax.jit(lambda x: x + as_times([x, 0.0])[0])(1.0) == 2  # of which one is traced


@pytest.mark.parametrize("number", [0, 0.5, np.float32(0.5)])
@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - {"gan.matching_loss"}))
def test_numbers_alone_are_refused_where_an_axis_is_needed(name, number):
    """One number stands for an axis that another argument has; where none has, it is named."""
    forms = {argument: form for argument, (_, form) in arrays_of(FUNCTIONS[name]).items()}
    given = dict.fromkeys(inspect.signature(FUNCTIONS[name]).parameters) | dict.fromkeys(
        forms, number
    )
    if all(form.split()[0][0] in "*." for form in forms.values()):
        return
    with pytest.raises(ConfigError, match=r"has shape \(\), must be \["):
        FUNCTIONS[name](**given)


def test_a_number_of_python_takes_the_dtype_of_the_arrays():
    half = jnp.ones(3, jnp.bfloat16)
    assert transport.forward_kl_loss(half, half, 0.0)[0].dtype == jnp.bfloat16
    np.testing.assert_array_equal(energy.joint_energy(jnp.eye(2, 3), 1), [0, -1])
    with pytest.raises(TypeError, match="missing"):
        paths.convert(1)
