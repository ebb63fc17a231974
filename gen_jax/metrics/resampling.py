"""Error bars for any statistic of sets, and its value between two real sets of one size."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gen_jax.checks import as_key, as_numbers, check_callable, no_type_check, on_host
from gen_jax.errors import ConfigError, check_flag, check_range
from gen_jax.types import Array, Estimate, Float, Key, Shaped


@no_type_check
def mean_and_error(values: Float[Array | np.ndarray, "N"]) -> Estimate:
    """Mean of independent values [N] and its standard error std / sqrt(N), N - 1 in the std."""
    values = as_numbers("values", values, 2)
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))


def _value(statistic: Callable[..., Any], *sets: np.ndarray) -> np.ndarray:
    """A statistic's number, or numbers. Raises DataError for others."""
    return on_host("statistic's value", statistic(*sets), finite=False).astype(np.float64)


@no_type_check
def bootstrap(
    key: Key[Array, ""],
    statistic: Callable[..., Any],
    *samples: Shaped[Array | np.ndarray, "..."],
    num_resamples: int = 100,
    replace: bool = True,
) -> Estimate:
    """`statistic(*samples)` with its standard error, by resampling the rows of each set on its own.

    With `replace` this is the bootstrap (efron1979). Statistics that compare rows with each other
    (kernel distances, precision and recall, nearest neighbours) mistake its repeated rows for
    perfect matches: for those use `replace=False`, the delete-half jackknife (shao1989): the spread
    over random halves is the standard error of the whole set. Where two laws agree it overstates
    the error of an unbiased kernel distance, by at most sqrt(3).

    Args:
      statistic: of all sets; a number, or several, each of which then has its error.
      samples: arrays [N_i, ...], resampled along the first axis.
    """
    key = as_key("key", key)
    check_callable("statistic", statistic)
    check_range("num_resamples", num_resamples, 2, integer=True)
    check_flag("replace", replace)
    sets = [on_host(f"samples[{i}]", x) for i, x in enumerate(samples)]
    if not sets or min(x.ndim and len(x) for x in sets) < 4:
        shapes = [x.shape for x in sets]
        raise ConfigError(f"samples have shapes {shapes}; each must be [N, ...] with N >= 4")

    def resample(index: int, part: int) -> np.ndarray:
        key_part = jax.random.fold_in(jax.random.fold_in(key, index), part)
        n = len(sets[part])
        rows = jax.random.choice(key_part, n, (n if replace else n // 2,), replace=replace)
        return sets[part][np.asarray(rows)]

    values = [
        _value(statistic, *(resample(index, part) for part in range(len(sets))))
        for index in range(int(num_resamples))
    ]
    value, error = _value(statistic, *sets), np.std(values, axis=0, ddof=1)
    return Estimate(value, error) if value.ndim else Estimate(float(value), float(error))


@no_type_check
def calibrate(
    key: Key[Array, ""],
    statistic: Callable[..., Any],
    real: Shaped[Array | np.ndarray, "N ..."],
    size: int | None = None,
    num_repeats: int = 10,
) -> Estimate:
    """`statistic` between two disjoint random parts of real data: what a perfect model would reach.

    Args:
      statistic: of two sets; a number, or several, each of which then has its scatter.
      size: examples in each part, at most N / 2 (the default); use the sizes of the number it
        stands beside.
      num_repeats: random splits; the error returned is the standard deviation over them, the
        scatter of one value; NaN for one split.
    """
    key = as_key("key", key)
    check_callable("statistic", statistic)
    real = on_host("real", real)
    if real.ndim == 0:
        raise ConfigError("real has shape (); it must be [N, ...]")
    size = len(real) // 2 if size is None else size
    check_range("size", size, 2, len(real) // 2, integer=True)
    check_range("num_repeats", num_repeats, 1, integer=True)
    values = []
    for repeat in range(int(num_repeats)):
        order = np.asarray(jax.random.permutation(jax.random.fold_in(key, repeat), len(real)))
        values.append(_value(statistic, real[order[:size]], real[order[size : 2 * size]]))
    value = np.mean(values, 0)
    error = np.std(values, 0, ddof=1) if len(values) > 1 else np.full_like(value, np.nan)
    return Estimate(value, error) if value.ndim else Estimate(float(value), float(error))
