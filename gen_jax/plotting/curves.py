"""Curves: metrics over training, and sample quality against network calls."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from gen_jax.errors import ConfigError, DataError
from gen_jax.plotting.style import COLOURS, MARKERS, styled
from gen_jax.types import Float

Record = Mapping[str, Any]


def read_metrics(path: str | os.PathLike) -> list[dict[str, Any]]:
    """The records of a metrics.jsonl, one per line; a torn last line is left out.

    Raises DataError when the file is missing or another line is not JSON.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")
    except OSError as error:
        raise DataError(f"cannot read metrics {os.fspath(path)!r}: {error.strerror}") from error
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records += [json.loads(line)] if line.strip() else []
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise DataError(f"{os.fspath(path)}, line {number}: {error}") from error
    return records


def moving_average(values: Float[np.ndarray, "N"], width: int) -> Float[np.ndarray, "N"]:
    """Mean over a centred window of `width` values, shorter at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low = np.maximum(index - width // 2, 0)
    high = np.minimum(index + width // 2 + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)


def _series(records: Sequence[Record], key: str) -> tuple[np.ndarray, np.ndarray]:
    rows = [(r["step"], r[key]) for r in records if "step" in r and r.get(key) is not None]
    x, y = np.asarray(rows, np.float64).reshape(-1, 2).T
    return x, y


def _numeric_keys(records: Sequence[Record]) -> list[str]:
    number = lambda v: isinstance(v, (int, float)) and not isinstance(v, bool)
    keys = {k: None for r in records for k, v in r.items() if k != "step" and number(v)}
    return list(keys)


@styled
def training_curves(
    records: Sequence[Record], keys: Sequence[str] | None = None, log_scale: bool = False
) -> Figure:
    """One panel per metric against the step: every value light, their moving average on top.

    Args:
      records: as in metrics.jsonl; each has "step" and numbers by name.
      keys: the metrics to draw, by default all that are numbers.
      log_scale: logarithmic vertical axis, where all values are positive.
    """
    keys = list(keys) if keys is not None else _numeric_keys(records)
    series = {key: _series(records, key) for key in keys}
    if empty := [key for key, (x, _) in series.items() if len(x) == 0]:
        raise ConfigError(f"keys {empty} are in no record (present: {_numeric_keys(records)})")
    if not series:
        raise ConfigError("records hold no numbers to draw beside 'step'")
    columns = min(3, len(series))
    rows = -(-len(series) // columns)
    figure = Figure((3.2 * columns + 0.4, 2.3 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (key, (x, y)) in zip(axes, series.items()):
        smooth = len(x) >= 20
        axis.plot(
            x, y, color=COLOURS[0], alpha=0.3 if smooth else 1, linewidth=0.8 if smooth else 1.6
        )
        if smooth:
            axis.plot(x, moving_average(y, max(3, len(x) // 20)), color=COLOURS[0])
        if log_scale and y.min() > 0:
            axis.set_yscale("log")
        axis.set(title=key, xlabel="step")
    for unused in axes[len(series) :]:
        unused.remove()
    return figure


def _label_decades(axis) -> None:
    """Ticks at 1, 2 and 5 of each decade, so that a range under one decade has labels too."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


@styled
def quality_versus_calls(
    results: Mapping[str, Sequence[tuple[float, ...]]],
    ylabel: str,
    floor: float | None = None,
    floor_label: str = "real against real",
    log_scale: bool = True,
    xlabel: str = "network calls",
) -> Figure:
    """Sample quality against network calls, one line per sampler, calls on a logarithmic axis.

    Args:
      results: sampler -> (calls, value) or (calls, value, standard error) for each run.
      ylabel: the metric and its unit.
      floor: its value for real data, drawn dashed.
      log_scale: logarithmic quality axis, where all values are positive.
      xlabel: the cost, where it is not network calls.
    """
    if not results or any(len(row) not in (2, 3) for rows in results.values() for row in rows):
        raise ConfigError("results must map samplers to (calls, value[, error]) for each run")
    figure = Figure((6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    for index, (name, rows) in enumerate(results.items()):
        table = np.array([(*row, 0.0)[:3] for row in sorted(rows)], np.float64).reshape(-1, 3)
        style: dict[str, Any] = {
            "marker": MARKERS[index % len(MARKERS)],
            "color": COLOURS[index % len(COLOURS)],
        }
        if index >= len(COLOURS):
            style |= {"linestyle": "--", "markerfacecolor": "white"}
        errors = table[:, 2] if table[:, 2].any() else None
        axes.errorbar(table[:, 0], table[:, 1], yerr=errors, label=name, capsize=2, **style)
    if floor is not None:
        axes.axhline(floor, color="#4D4D4D", linestyle=(0, (4, 3)), linewidth=1, label=floor_label)
    axes.set_xscale("log")
    _label_decades(axes.xaxis)
    positive = all(row[1] > 0 for rows in results.values() for row in rows)
    if log_scale and positive and (floor is None or floor > 0):
        axes.set_yscale("log")
        _label_decades(axes.yaxis)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: labels[i] not in results)
    figure.legend(
        [handles[i] for i in order], [labels[i] for i in order], loc="outside right upper"
    )
    return figure


@styled
def precision_recall_curves(
    curves: Mapping[str, tuple[Float[np.ndarray, "A"], Float[np.ndarray, "A"]]],
) -> Figure:
    """Precision against recall on the unit square, one line per name -> (recall, precision)."""
    if not curves:
        raise ConfigError("curves must map names to (recall, precision)")
    figure = Figure((4.2, 3.8), layout="constrained")
    axes = figure.subplots()
    for index, (name, (recall, precision)) in enumerate(curves.items()):
        axes.plot(recall, precision, color=COLOURS[index % len(COLOURS)], label=name)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
    axes.legend(loc="lower left")
    return figure
