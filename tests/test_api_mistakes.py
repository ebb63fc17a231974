"""Mistakes at the functions of `training`, `data` and `metrics`: one line that names the argument.

A law: every public function of the three packages, and of the modules of `data`, that takes
arguments has a row in wrong_calls/ (`fit`: wrong_fits.py), and every argument a wrong value
there.
"""

import inspect

import pytest
from wrong_calls import CALLS
from wrong_fits import FIT, fit

from gen_jax import data, metrics, training
from gen_jax.errors import ConfigError, DataError

NO_ARGUMENTS = {
    *("cache_folder", "identity", "symmetric_images", "to_symmetric", "to_unit"),
    *("toy.eight_gaussians_mixture", "toy.grid_mixture"),
}
READERS = {
    "binarized": {"binarise", "parse"},
    "cache": {"cache_folder", "cached"},
    "captions": {"are_digits", "make", "render"},
    "folder": {"find_images", "held_out", "parse", "read_folder"},
    "images": {"parse", "read_digits", "read_tfds", "tfds_folder"},
    "known_densities": {"read_target"},
    "pairs": {"join", "luma", "make", "outlines", "paint", "parse", "thicken", "unpaired"},
    "shapes": {"parse", "read_shapes"},
    "text": {"parse", "read_file", "read_windows", "vocabulary_of"},
    "textures": {"parse", "patches", "read_faces", "read_patches", "read_picture"},
}
"""What `load` calls, which has checked the names and made the arrays, by module."""

SAID_AS = {
    **dict.fromkeys([(f, "name") for f in ("load", "describe", "digests", "examples")], "dataset"),
    **dict.fromkeys([("registry.find", "name"), ("known_densities.target_of", "name")], "dataset"),
    ("chain", "transforms"): "transforms[1]",
    ("start_from", "trained"): "initial",
    ("likelihood_scores", "images"): "x",
    ("check_writable", "path"): "output",
}
"""(function, parameter) -> the word for it in the line, where it is another one."""

ANYTHING = {
    ("check_writable", "argument"),  # a word for the line
    ("read_config", "shown"),
    ("start_from", "fresh"),
    ("start_from", "name"),
    ("restore_state", "template"),  # compared with what is saved
    ("write_json", "value"),  # what JSON has not becomes its text
}
"""Parameters of which no value is wrong by itself."""


def functions_of(package):
    """Public functions by name, those of public modules (without what these import) with a dot."""
    is_function = lambda f: inspect.isfunction(inspect.unwrap(f)) or hasattr(f, "__wrapped__")
    found = {name: f for name in package.__all__ if is_function(f := getattr(package, name))}
    again = {inspect.unwrap(f) for f in found.values()}
    for place in package.__all__:
        module = getattr(package, place)
        if inspect.ismodule(module):
            own = {n: f for n, f in vars(module).items() if is_function(f) and n[0] != "_"}
            own = {n: f for n, f in own.items() if f.__module__ == module.__name__}
            found |= {f"{place}.{n}": f for n, f in own.items() if inspect.unwrap(f) not in again}
    return found


FUNCTIONS = {
    name: f for package in (training, data, metrics) for name, f in functions_of(package).items()
}


def test_every_public_function_has_a_row():
    readers = {f"{module}.{name}" for module, names in READERS.items() for name in names}
    assert FUNCTIONS.keys() == CALLS.keys() | NO_ARGUMENTS | readers | {"fit"}


@pytest.mark.parametrize("name", [*CALLS, "fit"])
def test_every_argument_has_a_wrong_one(name):
    words = set(FIT) if name == "fit" else {word for word, _ in CALLS[name]}
    arguments = set(inspect.signature(FUNCTIONS[name]).parameters)
    free = {argument for argument in arguments if (name, argument) in ANYTHING}
    missing = {a for a in arguments - free if SAID_AS.get((name, a), a) not in words}
    assert missing == set()


def line_of(call):
    with pytest.raises((ConfigError, DataError)) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 700  # names to choose from
    return line


@pytest.mark.parametrize("argument", FIT)
def test_fit_names_the_argument(argument):
    for wrong in FIT[argument]:
        assert argument in line_of(lambda wrong=wrong: fit(**wrong))


@pytest.mark.parametrize("name", CALLS)
def test_functions_name_the_argument(name):
    for argument, call in CALLS[name]:
        assert argument in line_of(call)
