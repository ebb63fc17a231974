"""The contract over all families: what a model declares is what its functions take."""

import ast
import inspect
import pydoc
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import pytest
from damaged import CALLABLES

import gen_jax
from gen_jax import diffusion
from gen_jax.compiled import Compiled
from gen_jax.errors import ConfigError
from gen_jax.model import DOORS, PER_SAMPLE, SHARED, STATIC, GenerativeModel
from gen_jax.ranges import options_from

KEY = jax.random.key(0)
AVERAGED = {"vae.vqvae/prior"}
"""Models with parameters that no optimizer moves: counts of codes."""


def model_of(name):
    make, _, arrays = CALLABLES[name]
    damage = (lambda out: out) if name != "vae.vqvae/prior" else np.mean
    return make(damage), {key: np.asarray(value) for key, value in arrays.items()}


@pytest.mark.parametrize("name", CALLABLES)
def test_conditions_are_the_options_of_sample(name):
    """Names and kinds; a word that is none is refused before anything is traced."""
    model, _ = model_of(name)
    if model.sample is None:
        assert model.conditions == {}
        return
    signature = inspect.signature(model.sample)
    assert list(signature.parameters)[:3] == ["key", "state", "n"]
    options = list(signature.parameters.values())[3:]
    assert [option.name for option in options] == list(model.conditions)
    assert all(option.kind is option.KEYWORD_ONLY for option in options)
    assert set(model.conditions.values()) <= {PER_SAMPLE, SHARED, STATIC}
    with pytest.raises(ConfigError, match="option='no_such_word' is unknown"):
        model.sample(KEY, None, 2, no_such_word=1)
    if "label" in model.conditions:
        with pytest.raises(ConfigError, match="did you mean 'label'"):
            model.sample(KEY, None, 2, lable=1)
    listed = inspect.getdoc(model.sample).rsplit("Options of this model: ", 1)[1]
    assert all(f"{word} ({kind})" in listed for word, kind in model.conditions.items())


@pytest.mark.parametrize("name", CALLABLES)
def test_help_shows_the_docstring_and_the_signature_of_each_function(name):
    model, _ = model_of(name)
    for word in DOORS:
        function = getattr(model, word)
        if function is None:
            continue
        shown = pydoc.plain(pydoc.render_doc(function))
        first = inspect.getdoc(function).splitlines()[0]
        assert first in shown
        assert "partial" not in shown
        assert f"\n{word}(" in shown
        names = list(inspect.signature(function).parameters)
        assert names[0] == "key"
        assert "parts" not in names


@pytest.mark.parametrize("name", CALLABLES)
def test_sample_and_log_prob_hold_their_programs(name):
    """Equal calls are traced once: test_compiled.py shows it of `Compiled`."""
    model, _ = model_of(name)
    for function in (model.sample, model.log_prob):
        assert function is None or isinstance(function, Compiled)


@pytest.mark.parametrize("name", CALLABLES)
def test_parameters_are_what_an_optimizer_moves(name):
    """Every array with a moment of Adam is among them; others are fitted by running averages."""
    model, batch = model_of(name)
    state = jax.eval_shape(lambda key: model.init(key, batch), KEY)
    moments = [
        part.mu for part in jax.tree.leaves(state, is_leaf=_has_moments) if _has_moments(part)
    ]
    if not moments:  # fitted without an optimizer
        return
    shapes = lambda tree: Counter(leaf.shape for leaf in jax.tree.leaves(tree))
    more = shapes(model.parameters(state))
    assert shapes(moments) <= more
    if name not in AVERAGED:
        assert shapes(moments) == more


def _has_moments(part):
    return hasattr(part, "mu")


def test_a_model_needs_init_and_step_alone():
    model = GenerativeModel(
        lambda key, batch: 0.0, lambda key, state, batch: (state, {"loss": 0.0})
    )
    assert (model.sample, model.log_prob, model.parts) == (None, None, None)


def test_options_of_every_family_are_made_in_one_way():
    """An unknown one is answered with the near match, a missing one with its name."""
    for path in (Path(gen_jax.__file__).parent).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Options"):
                assert all(word.arg for word in node.keywords), f"{path}: {ast.unparse(node)}"
    with pytest.raises(ConfigError, match="option='shpe' is unknown; did you mean 'shape'"):
        options_from(diffusion.Options, {"shpe": (2,)})
    with pytest.raises(ConfigError, match="shape must be given"):
        options_from(diffusion.Options, {})
