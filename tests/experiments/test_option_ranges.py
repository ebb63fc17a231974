"""Every number on a command line has a range, and what lies outside is refused by its name."""

import importlib
import math
import pkgutil
from dataclasses import is_dataclass, replace
from inspect import signature
from typing import Annotated, NamedTuple

import pytest
import tyro

import experiments
from experiments.shared import tempering_animation
from gen_jax.errors import ConfigError
from gen_jax.ranges import Range, check_ranges, fields_of

OF_THE_DATA = {"label"}
"""Numbers whose range is that of a run's data."""


def configs():
    """A configuration with its defaults of every command that has one, by the command's name."""
    found = {"tempering_animation": tempering_animation.Settings()}
    for module in pkgutil.iter_modules(experiments.__path__):
        kind = getattr(importlib.import_module(f"experiments.{module.name}"), "Config", None)
        if kind is not None:
            needed = [p.name for p in signature(kind).parameters.values() if p.default is p.empty]
            found[module.name] = kind(**dict.fromkeys(needed, "digits"))
    return found


CONFIGS = configs()


def numbers(part, prefix=""):
    """(dotted name, Field) of all numbers of a (nested) configuration."""
    for name, field in fields_of(type(part)).items():
        value = getattr(part, name)
        if is_dataclass(value):
            yield from numbers(value, f"{prefix}{name}.")
        elif field.is_number:
            yield f"{prefix}{name}", field


def with_value(part, name, value):
    first, _, rest = name.partition(".")
    inner = with_value(getattr(part, first), rest, value) if rest else value
    return replace(part, **{first: inner})


def outside(field):
    """Values just beyond both ends, not numbers, without an end, and no entry."""
    low, high, open_low, entries = field.range
    whole = float not in field.types
    step = lambda x, end: x + (1 if end > 0 else -1) if whole else math.nextafter(x, end)
    wrong = [] if low is None else [low if open_low else step(low, -math.inf)]
    wrong += [] if high is None else [step(high, math.inf), 10**15]
    wrong += [10**9] if whole and high is not None and high < 10**9 else []
    wrong += [] if whole else [math.nan, math.inf, -math.inf]
    wrong += [] if whole or high is not None else [1e300]  # infinite in float32
    if tuple in field.types:
        return [(value, value) for value in wrong] + [()] * (entries > 0)
    return wrong


def refusal(config):
    with pytest.raises(ConfigError) as caught:
        config.check() if hasattr(config, "check") else check_ranges(config)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("name", CONFIGS)
def test_numbers_outside_of_their_ranges_are_refused_by_name(name):
    config, found = CONFIGS[name], dict(numbers(CONFIGS[name]))
    for option, field in found.items():
        if option in OF_THE_DATA:
            continue
        assert field.range is not None, f"{option} has no range"
        wrong = outside(field)
        assert wrong
        for value in wrong:
            line = refusal(with_value(config, option, value))
            assert line.startswith(f"{option}="), (option, value, line)


@pytest.mark.parametrize("name", CONFIGS)
def test_empty_texts_are_refused_by_name(name):
    """`--directory "$UNSET"` was the default directory."""
    config = CONFIGS[name]
    for option, field in fields_of(type(config)).items():
        if str in field.types and tuple not in field.types:
            assert option in refusal(replace(config, **{option: ""}))


@pytest.mark.parametrize("name", CONFIGS)
def test_defaults_lie_in_their_ranges(name):
    check_ranges(CONFIGS[name])


def test_help_shows_the_ranges(capsys):
    with pytest.raises(SystemExit):
        tyro.cli(type(CONFIGS["gan"]), args=["--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "after which the run ends; 0 for never. (default: 0, in [0, 2147483647])" in text
    assert "(default: 0.5, in [0, 0.9999])" in text


def test_ranges_of_named_tuples():
    class Options(NamedTuple):
        width: Annotated[int, Range(1, 8)] = 4
        rate: Annotated[float | None, Range(0, 1, open_low=True)] = None
        free: float = 0.0
        sizes: Annotated[tuple[int, ...], Range(2)] = (2,)

    check_ranges(Options())
    check_ranges(Options(rate=1, sizes=(2, 3), free=1e38))
    check_ranges(Options(free=-2e-38))
    wrong = {
        "width": (9, 0, 2.0, True, None, "4"),
        "rate": (0.0, 1.1, "a"),
        "free": (math.inf, 1e300, -1e39, 1e-40, -5e-324),
        "sizes": ((), (1,), (2, 2.5), None),
    }
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(ConfigError, match=f"^at.{name}="):
                check_ranges(Options(**{name: value}), "at.")
