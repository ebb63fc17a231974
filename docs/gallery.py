"""The gallery: notebooks and scripts with level, tags, and the CPU time of a recorded run."""

import json
import re
from pathlib import Path
from typing import Any

import nbformat

from experiments.shared.registry import EXPERIMENTS, GUIDES, described, families, find, title_of
from gen_jax import data

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "docs" / "results" / "records"


def records() -> list[dict[str, Any]]:
    """Every record that says how much CPU time was spent."""
    found = (
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(RECORDS.glob("*.json"))
    )
    return [record for record in found if record.get("cpu_seconds") is not None]


def gallery() -> str:
    """The page. A script's CPU time is that of its cheapest record; without one none is shown."""
    parts = ["# Gallery", "", "## Notebooks", "", "Executed, with their pictures.", ""]
    names = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    seconds = {r["name"]: r["cpu_seconds"] for r in records() if r["kind"] == "notebook"}
    parts += ["| notebook | level | tags | CPU&nbsp;s | |", "| --- | --- | --- | --- | --- |"]
    for name in names:
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        shelf = {"level": "method", "tags": "", **notebook.metadata.get("gallery", {})}
        link = f"[{name.replace('_', ' ')}](notebooks/{name}.ipynb)"
        spent = _seconds(seconds.get(f"notebook-{name}"))
        cells = [shelf["level"], shelf["tags"], spent, _first_sentence(notebook)]
        parts.append(f"| {link} | {' | '.join(cells)} |")
    parts += ["", "```{toctree}", ":hidden:", "", *(f"notebooks/{name}" for name in names), "```"]
    parts += ["", "## Scripts", "", "Each trains and draws, and its runs can be measured; `--help`"]
    parts += [
        "lists its options. CPU time is that of its cheapest run in the [results](../results.md)."
    ]
    lines = described()
    for family, scripts in families().items():
        parts += ["", f"### {title_of(family)}", ""]
        parts += [
            "| experiments. | level | data | CPU&nbsp;s | |",
            "| --- | --- | --- | --- | --- |",
        ]
        parts += [_script(name, lines[name]) for name in scripts]
    trained = {*EXPERIMENTS, *GUIDES}
    parts += ["", "## Commands", "", "| `python -m experiments.` | |", "| --- | --- |"]
    parts += [
        f"| `{name}` | {_cell(line)} |" for name, line in lines.items() if name not in trained
    ]
    return "\n".join(parts) + "\n"


def _script(name: str, line: str) -> str:
    experiment = find(name)
    kind = data.registry.find(experiment.config.dataset).kind
    runs = [r["cpu_seconds"] for r in records() if r.get("experiment") == name]
    cells = [experiment.level, kind, _seconds(min(runs, default=None)), _cell(line)]
    return f"| `{name}` | {' | '.join(cells)} |"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _first_sentence(notebook: nbformat.NotebookNode) -> str:
    text = next(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    first = text.partition("\n")[2].strip().split("\n\n")[0].replace("\n", " ")
    return re.split(r"(?<=[.!?]) ", first)[0]


def _cell(text: str) -> str:
    return re.sub(r"([|*_<$])", r"\\\1", text)
