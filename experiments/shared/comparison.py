"""Runs side by side as a table: for a terminal, as one HTML page with their last pictures, as CSV.

Runs that differ in their seed alone are shown once more as one column, with the mean over seeds.
"""

import base64
import csv
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.shared import records
from gen_jax import training
from gen_jax.writing import write_text

STYLE = (
    "body{font:15px/1.5 sans-serif;margin:2rem}td,th{padding:.2rem 1rem .2rem 0;text-align:left;"
    "vertical-align:top}img{max-width:22rem}tr.part th{padding-top:1rem}"
)
LONGEST_VALUE, LONGEST = 24, 40
"""Characters of an option's value in a title, and of a title."""

RUNS, SAME = "runs", "the same in all"
DIFFER, COST, MEASURED = "options that differ", "cost", "measured"
GROUPS = "mean ± standard deviation over seeds"

Rows = dict[str, list[str]]


class Table(NamedTuple):
    """What is shown of runs.

    Fields:
      titles: of the columns.
      head: part -> name -> what is said once.
      parts: part -> row -> a cell for each title.
    """

    titles: list[str]
    head: dict[str, dict[str, str]]
    parts: dict[str, Rows]


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options as one dictionary with dotted names; estimates stay as they are."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and "standard_error" not in value:
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[f"{prefix}{name}"] = value
    return result


def _options(found: dict[str, Any]) -> dict[str, Any]:
    return {"experiment": found["experiment"], **flat(found["config"])}


def _every(columns: Sequence[dict[str, Any]]) -> list[str]:
    """The names of all columns, each once, in their order."""
    return [*{name: None for column in columns for name in column}]


def _rows(columns: Sequence[dict[str, Any]]) -> Rows:
    return {n: [records.shown(c.get(n, "")) for c in columns] for n in _every(columns)}


def _differing(columns: Sequence[dict[str, Any]]) -> Rows:
    return {name: cells for name, cells in _rows(columns).items() if len({*cells}) > 1}


def _numbers(found: dict[str, Any]) -> dict[str, Any]:
    """What `evaluate` reports of a run, without the names that its options have already."""
    values = flat(found["evaluation"])
    known = {"run": found["experiment"], "dataset": found["dataset"]}
    return {name: value for name, value in values.items() if known.get(name, "") != value}


def _same(columns: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Facts, no measured numbers, in which all runs agree that have an evaluation."""
    columns = [column for column in columns if column]
    result = {}
    for name in _every(columns):
        values = [column.get(name) for column in columns]
        fact = name.startswith("options.") or not any(
            isinstance(v, float | dict | list | None) for v in values
        )
        if fact and all(value == values[0] for value in values):
            result[name] = records.shown(values[0])
    return result


def table(found: Sequence[dict[str, Any]], runs: Sequence[str | Path]) -> Table:
    """Facts in which all agree, the options that differ, all costs, all measured numbers."""
    options, numbers = [_options(f) for f in found], [_numbers(f) for f in found]
    agreed = {n: c[0] for n, c in _rows(options).items() if len({*c}) == 1}
    same = {n: agreed[n] for n in ("experiment", "dataset", "seed") if n in agreed} | _same(numbers)
    titles = titles_of(found, runs)
    parts = {
        DIFFER: _differing(options),
        COST: _rows([{name: f[name] for name in records.COSTS} for f in found]),
        MEASURED: {name: row for name, row in _rows(numbers).items() if name not in same},
    }
    return Table(titles, {RUNS: dict(zip(titles, map(str, runs))), SAME: same}, parts)


def _telling(rows: Rows) -> Rows:
    """The rows that tell more columns apart than those before them."""
    kept: Rows = {}
    apart = lambda rows: len({*zip(*rows.values())})
    for name, cells in rows.items():
        if not kept or apart({**kept, name: cells}) > apart(kept):
            kept[name] = cells
    return kept


def _titles(rows: Rows, count: int) -> list[str]:
    """A title for each of `count` columns: `path=vp seed=1`."""
    last = [name.rsplit(".", 1)[-1] for name in rows]
    short = [a if last.count(a) == 1 else name for name, a in zip(rows, last)]
    cut = lambda cell: cell if len(cell) <= LONGEST_VALUE else f"…{cell[1 - LONGEST_VALUE :]}"
    named = lambda name, cell: cell if name == "experiment" else f"{name}={cut(cell)}"
    columns = zip(*rows.values()) if rows else [()] * count
    return [" ".join(map(named, short, column)) for column in columns]


def titles_of(found: Sequence[dict[str, Any]], runs: Sequence[str | Path]) -> list[str]:
    """What differs between the runs, as `path=vp seed=1`; the directory's name where that is none.

    Options that some of the runs do not have are left out; where a title would be long, so are
    those that tell no more runs apart, and if that does not do, all but the experiment.
    """
    options, names = [_options(f) for f in found], [Path(run).absolute().name for run in runs]
    shared = {n: c for n, c in _differing(options).items() if all(n in o for o in options)}
    if "seed" in shared:
        shared["seed"] = shared.pop("seed")  # the last word of a title
    titles = _titles(shared, len(found))
    if max(map(len, titles)) > LONGEST:
        titles = _titles(_telling(shared), len(found))
    if max(map(len, titles)) > LONGEST:
        titles = _titles({n: c for n, c in shared.items() if n == "experiment"}, len(found))
    twice = [title for title in titles if titles.count(title) > 1]
    named = [
        " ".join(filter(None, (t, f"({n})" if t else n))) if t in twice else t
        for t, n in zip(titles, names)
    ]
    return [str(run) if named.count(t) > 1 else t for t, run in zip(named, runs)]


def _without_seed(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "config": {k: v for k, v in found["config"].items() if k != "seed"}}


def by_seed(found: Sequence[dict[str, Any]]) -> list[list[int]]:
    """Indices of the runs that differ in their seed alone, of one seed the first."""
    groups: dict[str, dict[str, int]] = {}
    for i, run in enumerate(found):
        group = groups.setdefault(repr(sorted(_options(_without_seed(run)).items())), {})
        group.setdefault(str(run["seed"]), i)
    return [[*group.values()] for group in groups.values()]


def _mean(values: Sequence[Any]) -> str:
    """Mean ± standard deviation (n - 1) of the numbers, (n) where some runs have none."""
    numbers = [v["value"] if isinstance(v, dict) else v for v in values]
    numbers = [v for v in numbers if isinstance(v, int | float) and not isinstance(v, bool)]
    if not numbers:
        return ""
    spread = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else 0.0
    mean = records.with_error(float(np.mean(numbers)), spread)
    return mean + (f" (n={len(numbers)})" if len(numbers) < len(values) else "")


def over_seeds(found: Sequence[dict[str, Any]], runs: Sequence[str | Path]) -> Table | None:
    """The costs and the measured numbers of each group of seeds; None where there is no group."""
    groups = by_seed(found)
    if max(map(len, groups)) < 2:
        return None
    firsts = [group[0] for group in groups]
    titles = titles_of([_without_seed(found[i]) for i in firsts], [runs[i] for i in firsts])
    if len(groups) == 1:
        titles = [str(found[0]["experiment"])]
    counts = [f"{len(group)} seed{'s' * (len(group) > 1)}" for group in groups]
    numbers = [_numbers(f) for f in found]
    same, costs = _same(numbers), [{name: f[name] for name in records.COSTS} for f in found]
    parts = {
        part: {
            name: [_mean([columns[i].get(name) for i in group]) for group in groups]
            for name in _every(columns)
            if name not in same
        }
        for part, columns in ((COST, costs), (MEASURED, numbers))
    }
    kept = {part: {n: row for n, row in rows.items() if any(row)} for part, rows in parts.items()}
    return Table([f"{t} ({count})" for t, count in zip(titles, counts)], {}, kept)


def as_text(shown: Table) -> str:
    """The head, then columns of equal width, for a terminal."""
    lines = []
    for part, facts in shown.head.items():
        wide = max(map(len, facts), default=0)
        lines += [part.upper(), *(f"{n:{wide}}  {v}" for n, v in facts.items()), ""]
    rows = [("", *shown.titles)]
    for part, cells in shown.parts.items():
        rows += [(part.upper(), *[""] * len(shown.titles))] if cells else []
        rows += [(name, *row) for name, row in cells.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines += ["  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows]
    return "\n".join(lines)


def _image(path: Path | None) -> str:
    if path is None:
        return ""
    encoded = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="samples" src="data:image/png;base64,{encoded}">'


def _line(head: str, cells: Iterable[str]) -> str:
    return f"<tr><th>{head}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _part(part: str, rows: Rows) -> str:
    body = "".join(_line(html.escape(n), map(html.escape, row)) for n, row in rows.items())
    return f"<tr class=part><th>{part}</th></tr>{body}" if rows else ""


def _html_table(shown: Table, pictures: Sequence[Path | None] = ()) -> str:
    """The head as a table of its own, then the columns."""
    head = "".join(_part(p, {n: [v] for n, v in facts.items()}) for p, facts in shown.head.items())
    body = _line("", [f"<b>{html.escape(n)}</b>" for n in shown.titles])
    body += _line("samples", map(_image, pictures)) if pictures else ""
    body += "".join(_part(part, rows) for part, rows in shown.parts.items())
    return (f"<table>{head}</table>" if head else "") + f"<table>{body}</table>"


def as_html(shown: Table, groups: Table | None, pictures: Sequence[Path | None]) -> str:
    """The same as a page that needs nothing else."""
    more = f"<h2>{GROUPS.capitalize()}</h2>{_html_table(groups)}" if groups else ""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Runs compared</title>"
        f"<style>{STYLE}</style><h1>Runs compared</h1>{_html_table(shown, pictures)}{more}"
    )


def as_csv(found: Sequence[dict[str, Any]], runs: Sequence[str | Path]) -> str:
    """A line for each run: directory, options that differ, costs and all that `evaluate` reports.

    An option NAME is config.NAME, since `evaluate` reports under some of the same names. Numbers
    have all their digits; the standard error of NAME is NAME_standard_error.
    """
    differ = {*_differing([_options(f) for f in found])}
    lines = []
    for run, one in zip(runs, found):
        options = {"experiment": one["experiment"], "dataset": one["dataset"], "seed": one["seed"]}
        options |= {
            f"config.{n}": v for n, v in _options(one).items() if n in differ - options.keys()
        }
        line = {"directory": str(run), **options, **{name: one[name] for name in records.COSTS}}
        for name, value in _numbers(one).items():
            estimate = isinstance(value, dict)
            line[name] = value["value"] if estimate else value
            if estimate:
                line[f"{name}_standard_error"] = value["standard_error"]
        lines.append(line)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, _every(lines), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()


def compare(runs: Sequence[str | Path], output: str | Path) -> str:
    """Write CSV where `output` ends with .csv, else the page; returns the tables as text."""
    found = [records.of_run(run) for run in runs]
    shown, groups = table(found, runs), over_seeds(found, runs)
    path = training.check_writable("output", Path(output))
    if path.suffix.lower() == ".csv":
        write_text(path, as_csv(found, runs))
    else:
        write_text(path, as_html(shown, groups, [records.last_picture(run) for run in runs]))
    more = f"\n\n{GROUPS.upper()}\n{as_text(groups)}" if groups else ""
    return as_text(shown) + more
