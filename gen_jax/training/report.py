"""A run's report: numbers as JSON, and one HTML page that needs nothing else to be read."""

import base64
import html
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.training.files import read_json, write_atomic, write_json

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


def _samples(directory: Path, limit: int = 6) -> str:
    pictures = sorted((directory / "samples").glob("step_*.png"))
    spread = np.linspace(0, len(pictures) - 1, min(limit, len(pictures)))  # over the whole run
    pictures = [pictures[round(place)] for place in spread]
    rows = (
        f"<p>{html.escape(p.stem)}<br>{_embedded(p.read_bytes(), 'png', p.stem)}</p>"
        for p in pictures
    )
    return "<h2>Samples</h2>" + "".join(rows) if pictures else ""


def _table(values: dict[str, Any]) -> str:
    cells = (
        f"<tr><td>{html.escape(str(name))}</td><td>{html.escape(str(value))}</td></tr>"
        for name, value in values.items()
    )
    return f"<table>{''.join(cells)}</table>"


def write_report(directory: str | Path, numbers: dict[str, Any] | None = None) -> Path:
    """Write report.json (when numbers are given) and report.html of a run directory."""
    directory = Path(directory)
    if numbers is not None:
        write_json(directory / "report.json", numbers)
    title = html.escape(directory.resolve().name)
    config = html.escape(json.dumps(_read_json(directory / "config.json"), indent=2))
    machine = html.escape(json.dumps(_read_json(directory / "environment.json"), indent=2))
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<style>{STYLE}</style><h1>{title}</h1>{_table(_read_json(directory / 'report.json'))}"
        f"{_samples(directory)}{_curves(directory)}"
        f"<h2>Configuration</h2><pre>{config}</pre><h2>Environment</h2><pre>{machine}</pre>"
    )
    path = directory / "report.html"
    write_atomic(path, page)
    return path
