"""A run's report: numbers as JSON, and one HTML page that needs nothing else to be read."""

import base64
import html
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.checks import check_path, no_type_check
from gen_jax.errors import ConfigError, shown
from gen_jax.training.files import read_json, write_json
from gen_jax.training.identity import of_another_run
from gen_jax.types import Estimate
from gen_jax.writing import write_text

STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td{padding:.15rem .8rem .15rem 0;vertical-align:top}"
    "img{max-width:100%;margin:.3rem 0}pre{overflow:auto;background:#f4f4f4;padding:.6rem}"
)


def _read_json(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return {}


def _embedded(data: bytes, kind: str, text: str) -> str:
    encoded = base64.b64encode(data).decode()
    return f'<img alt="{html.escape(text)}" src="data:image/{kind};base64,{encoded}">'


def _curves(directory: Path) -> str:
    path = directory / "metrics.jsonl"
    if not path.exists() or not path.stat().st_size:
        return ""
    from gen_jax import plotting

    buffer = io.BytesIO()
    figure = plotting.training_curves(plotting.read_metrics(path))
    figure.savefig(buffer, format="png", dpi=110)
    return "<h2>Training</h2>" + _embedded(buffer.getvalue(), "png", "training curves")


def _sample(path: Path) -> str:
    name = html.escape(path.stem)
    if path.suffix == ".png":
        return f"<p>{name}<br>{_embedded(path.read_bytes(), 'png', path.stem)}</p>"
    text = html.escape(path.read_text(encoding="utf-8", errors="replace"))
    return f"<p>{name}</p><pre>{text}</pre>"


def _precision_recall(directory: Path) -> str:
    path = directory / "precision_recall.png"
    return _embedded(path.read_bytes(), "png", "precision and recall") if path.exists() else ""


def _samples(directory: Path, limit: int = 6) -> str:
    """Pictures and texts over the whole run, the last among them."""
    found = (directory / "samples").glob("step_*")
    paths = sorted(path for path in found if path.suffix in (".png", ".txt"))
    spread = np.linspace(0, len(paths) - 1, min(limit, len(paths)))
    chosen = [paths[round(place)] for place in spread]
    return "<h2>Samples</h2>" + "".join(map(_sample, chosen)) if chosen else ""


def _shown(value: Any) -> str:
    """A number, an estimate as `write_json` leaves it, or anything else."""
    if isinstance(value, dict) and list(value) == ["value", "standard_error"]:
        parts = [math.nan if part is None else part for part in value.values()]
        if all(isinstance(part, int | float) for part in parts):
            return str(Estimate(*parts))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _table(title: str, values: Any) -> str:
    if not isinstance(values, dict) or not values:
        return ""
    cells = (
        f"<tr><td>{html.escape(str(name))}</td><td>{html.escape(_shown(value))}</td></tr>"
        for name, value in values.items()
    )
    return f"<h2>{title}</h2><table>{''.join(cells)}</table>"


def _evaluation(directory: Path) -> str:
    """The numbers and the curve of `evaluation.json`, if it is of the run that lies there."""
    found, config = (_read_json(directory / f"{n}.json") for n in ("evaluation", "config"))
    if of_another_run(found, config) is not None:
        return "<h2>Evaluation</h2><p>evaluation.json is of another run: evaluate this one.</p>"
    return _table("Evaluation", found) + _precision_recall(directory)


@no_type_check
def write_report(directory: str | Path, numbers: dict[str, Any] | None = None) -> Path:
    """Write report.json (when numbers are given) and report.html of a run directory.

    The page shows what is there: call it again after a picture or an evaluation.json. That of
    another run, which config.json does not name, is not shown.
    """
    directory = check_path("directory", directory)
    if not directory.is_dir():
        raise ConfigError(f"directory={str(directory)!r} does not exist")
    if numbers is not None and not isinstance(numbers, Mapping):
        raise ConfigError(f"numbers={shown(numbers)} must be a mapping of names to numbers")
    if numbers is not None:
        write_json(directory / "report.json", numbers)
    title = html.escape(directory.resolve().name)
    config = html.escape(json.dumps(_read_json(directory / "config.json"), indent=2))
    machine = html.escape(json.dumps(_read_json(directory / "environment.json"), indent=2))
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<style>{STYLE}</style><h1>{title}</h1>"
        f"{_table('Run', _read_json(directory / 'report.json'))}"
        f"{_evaluation(directory)}{_samples(directory)}{_curves(directory)}"
        f"<h2>Configuration</h2><pre>{config}</pre><h2>Environment</h2><pre>{machine}</pre>"
    )
    path = directory / "report.html"
    write_text(path, page)
    return path
