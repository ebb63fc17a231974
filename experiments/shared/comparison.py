"""Runs side by side as a table, and as one HTML page with their last pictures."""

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments.shared import records
from gen_jax import training
from gen_jax.writing import write_text

STYLE = (
    "body{font:15px/1.5 sans-serif;margin:2rem}td,th{padding:.2rem 1rem .2rem 0;text-align:left;"
    "vertical-align:top}img{max-width:22rem}tr.part th{padding-top:1rem}"
)


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options as one dictionary with dotted names; estimates stay as they are."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and "standard_error" not in value:
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[f"{prefix}{name}"] = value
    return result


def table(found: Sequence[dict[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """part -> row -> a cell per run: the options that differ, all costs, all measured numbers."""
    options = [{"experiment": f["experiment"], **flat(f["config"])} for f in found]
    parts = {
        "options that differ": options,
        "cost": [{name: f[name] for name in records.COSTS} for f in found],
        "measured": [flat(f["evaluation"]) for f in found],
    }
    result: dict[str, dict[str, list[str]]] = {}
    for part, columns in parts.items():
        every = {name: None for column in columns for name in column}
        rows = {name: [records.shown(c.get(name, "")) for c in columns] for name in every}
        if part.startswith("options"):
            rows = {name: cells for name, cells in rows.items() if len({*cells}) > 1}
        result[part] = rows
    return result


def as_text(names: Sequence[str], parts: dict[str, dict[str, list[str]]]) -> str:
    """Columns of equal width for a terminal."""
    rows = [("", *names)]
    for part, cells in parts.items():
        rows += [(part.upper(), *[""] * len(names))] if cells else []
        rows += [(name, *row) for name, row in cells.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(len(names) + 1)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows)


def _image(path: Path | None) -> str:
    if path is None:
        return ""
    encoded = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="samples" src="data:image/png;base64,{encoded}">'


def _line(head: str, cells: Iterable[str]) -> str:
    return f"<tr><th>{head}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def as_html(
    names: Sequence[str],
    parts: dict[str, dict[str, list[str]]],
    pictures: Sequence[Path | None],
) -> str:
    """The same as a page that needs nothing else."""
    body = _line("", [f"<b>{html.escape(n)}</b>" for n in names]) + _line(
        "samples", map(_image, pictures)
    )
    for part, rows in parts.items():
        body += f"<tr class=part><th>{part}</th></tr>" if rows else ""
        body += "".join(_line(html.escape(n), map(html.escape, row)) for n, row in rows.items())
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Runs compared</title>"
        f"<style>{STYLE}</style><h1>Runs compared</h1><table>{body}</table>"
    )


def compare(runs: Sequence[str | Path], output: str | Path) -> str:
    """Write the page; returns the table as text."""
    found = [records.of_run(run) for run in runs]
    names = [str(run) for run in runs]
    parts = table(found)
    path = training.check_writable("output", Path(output))
    pictures = [records.last_picture(run) for run in runs]
    write_text(path, as_html(names, parts, pictures))
    return as_text(names, parts)
