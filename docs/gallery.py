"""The gallery: notebooks and scripts with level, tags, and the CPU time of a recorded run."""

import json
import re
from pathlib import Path
from typing import Any

import nbformat

from experiments.shared.registry import EXPERIMENTS, GUIDES, described, families, find
from gen_jax import data

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "docs" / "results" / "records"
NOTEBOOKS = {
    "adversarial_networks": ("method", "gan, divergences, translation"),
    "diffusion_and_flow_matching": ("first", "diffusion, flow matching, guidance, likelihood"),
    "few_steps": ("method", "flow maps, reflow, learned variances and schedules"),
    "inverse_problems": ("method", "operators, guides, exact posteriors"),
    "latents_and_control": ("method", "latents, diffusion, vae, control, personalisation"),
    "likelihoods_and_energies": ("method", "flows, autoregressive, energy"),
    "sampling_known_densities": ("first", "sampling, divergences, mcmc, transport"),
    "tokens_and_text": ("method", "tokens, discrete diffusion, text to image, guidance"),
    "variational_autoencoders": ("first", "vae, priors, codes"),
    "your_own": ("first", "own data, network, path, loss; devices, seeds"),
}
"""Level and tags; a notebook that is not here is of the level "method", without tags."""

FIRST = {"diffusion", "flow", "flow_matching", "gan", "mcmc", "mixture", "vae"}
"""Scripts to begin with; the level of all others is "method", or "research"."""

RESEARCH = {
    "discrete_vae", "flow_map", "hierarchical_vae", "manifold", "multi_view", "style_transfer",
    "stylegan", "tarflow", "temperflow", "text_gan", "token_diffusion",
}  # fmt: skip
"""Methods with more parts than one page explains."""


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
        level, tags = NOTEBOOKS.get(name, ("method", ""))
        link = f"[{name.replace('_', ' ')}](notebooks/{name}.ipynb)"
        spent = _seconds(seconds.get(f"notebook-{name}"))
        parts.append(f"| {link} | {level} | {tags} | {spent} | {_first_sentence(name)} |")
    parts += ["", "```{toctree}", ":hidden:", "", *(f"notebooks/{name}" for name in names), "```"]
    parts += ["", "## Scripts", "", "Each trains and draws, and its runs can be measured; `--help`"]
    parts += [
        "lists its options. CPU time is that of its cheapest run in the [results](../results.md)."
    ]
    lines = described()
    for family, scripts in families().items():
        parts += ["", f"### {family[0].upper()}{family[1:]}", ""]
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
    level = "first" if name in FIRST else "research" if name in RESEARCH else "method"
    kind = data.registry.find(find(name).config.dataset).kind
    runs = [r["cpu_seconds"] for r in records() if r.get("experiment") == name]
    return f"| `{name}` | {level} | {kind} | {_seconds(min(runs, default=None))} | {_cell(line)} |"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _first_sentence(name: str) -> str:
    cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    text = next(cell.source for cell in cells if cell.cell_type == "markdown")
    first = text.partition("\n")[2].strip().split("\n\n")[0].replace("\n", " ")
    return re.split(r"(?<=[.!?]) ", first)[0]


def _cell(text: str) -> str:
    return re.sub(r"([|*_<$])", r"\\\1", text)
