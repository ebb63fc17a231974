"""A callable of a wrong output is refused by `fit` before anything is compiled, in one line."""

import importlib
import inspect
import pkgutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from damaged import CALLABLES
from damaged.common import fit

import gen_jax
from gen_jax import vae
from gen_jax.errors import ConfigError
from gen_jax.model import GenerativeModel


def families():
    """`PACKAGE.NAME` -> every public function that returns a model."""
    found = {}
    for module in pkgutil.iter_modules(gen_jax.__path__):
        package = importlib.import_module(f"gen_jax.{module.name}")
        for name in getattr(package, "__all__", ()):
            function = inspect.unwrap(getattr(package, name))
            if inspect.isfunction(function):
                if name == "model_from_parts":  # what the family's own constructor ends with
                    continue
                returns = inspect.signature(function).return_annotation
                found |= {f"{module.name}.{name}": function} if returns is GenerativeModel else {}
    return found


def callables_of(function):
    """Its parameters that may be callables; a name is none, nor is a prior or a model, which are
    checked where they are made."""
    words = {name.split("/")[1] for name in CALLABLES}
    made = (str, vae.Prior)
    given = [p for p in inspect.signature(function).parameters.values() if p.name != "state"]
    open_ones = lambda p: p.annotation in (p.empty, Any) and p.kind is not p.VAR_KEYWORD
    could_be = lambda p: open_ones(p) or "Callable" in str(p.annotation) or p.name in words
    return {
        p.name
        for p in given
        if could_be(p) and p.annotation not in made and "GenerativeModel" not in str(p.annotation)
    }


def test_every_family_is_in_the_law():
    """One with a row, or one whose networks are made inside, from names and sizes."""
    found, rows = families(), {name.split("/")[0] for name in CALLABLES}
    assert rows <= found.keys()
    assert {name for name in found.keys() - rows if callables_of(found[name])} == set()


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
