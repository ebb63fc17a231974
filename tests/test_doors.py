"""A callable of a wrong output is refused by `fit` before anything is compiled, in one line."""

import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from damaged import CALLABLES, NONE_GIVEN, fit

import gen_jax
from gen_jax.errors import ConfigError
from gen_jax.model import GenerativeModel


def families():
    """`PACKAGE.NAME` of every public function that returns a model."""
    found = set()
    for module in pkgutil.iter_modules(gen_jax.__path__):
        package = importlib.import_module(f"gen_jax.{module.name}")
        for name in getattr(package, "__all__", ()):
            function = inspect.unwrap(getattr(package, name))
            if inspect.isfunction(function):
                if name == "model_from_parts":  # what the family's own constructor ends with
                    continue
                returns = inspect.signature(function).return_annotation
                found |= {f"{module.name}.{name}"} if returns is GenerativeModel else set()
    return found


def test_every_family_is_in_the_law():
    assert {name.split("/")[0] for name in CALLABLES} | NONE_GIVEN == families()


@pytest.mark.parametrize("name", CALLABLES)
def test_a_callable_of_a_wrong_output_is_refused(name):
    make, damages, arrays = CALLABLES[name]
    for what, damage in damages.items():
        with pytest.raises(ConfigError) as caught:
            fit(make(damage), arrays)
        line = str(caught.value)
        assert "\n" not in line
        assert len(line) < 300, what


@pytest.mark.parametrize("name", CALLABLES)
def test_the_right_output_is_not_refused(name):
    make, _, arrays = CALLABLES[name]
    model = make(lambda out: out)
    if name == "vae.vqvae/prior":
        model = make(jnp.mean)
    first = {key: np.asarray(value) for key, value in arrays.items()}
    key = jax.random.key(0)
    state = jax.eval_shape(lambda key: model.init(key, first), key)
    jax.eval_shape(model.step, key, state, first)
