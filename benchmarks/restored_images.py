"""A trained prior on test images: every operator by every solver, and Palette, on one table.

    python -m experiments.diffusion
    python -m experiments.palette --directory runs/palette-inpainting
    python -m experiments.palette --operator super_resolution --directory runs/palette-pixels
    python -m benchmarks.restored_images runs/diffusion-digits \
        --palette runs/palette-inpainting runs/palette-pixels \
        --latents runs/gan-digits runs/vae-digits

Solvers and numbers are those of `experiments.restore`: by default 50 images, 8 draws each, 50 steps
of ddim from sigma / alpha = 5; twisted_smc has 64 particles for each image. Palette samples with
its run's own sampler; latents are searched as by `experiments.latent_search`. All see the same
images with other noise. Written cell by cell to `benchmarks/results/restored_DATASET_DEVICE.json`;
cells that are there are not measured again. Beside it the table and, for each operator, a picture:
images, A^+ y, then a draw of each solver measured now. `--status WORDS` writes the record of the
site.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import tyro

from benchmarks.measuring import machine, markdown, read, result_path, write, write_record
from experiments import latent_search, palette
from experiments import restore as restoring
from experiments.shared.option_types import MAX_COUNT, Count, Positive, within
from experiments.shared.registry import Saved
from experiments.shared.restoration import OPERATORS
from experiments.shared.runner import rebuild
from experiments.shared.solvers import PARTICLES, STEPPERS
from gen_jax import data, gan, plotting, training, vae
from gen_jax.errors import ConfigError
from gen_jax.inverse import GUIDES

NUMBERS = ("psnr_mean", "psnr_sample", "agreement", "label_accuracy", "psnr_pseudo_inverse")
CHOSEN = {"denoising": {"operator": "uncropping", "border": 0}}
"""Operators by other names."""
BACK = "A^+ y"
LATENTS = {"latents_of_gan": gan.Parts, "latents_of_vae": vae.Parts}
ORDER = (*GUIDES, *STEPPERS, PARTICLES, "palette", *LATENTS)


@dataclass(frozen=True)
class Config:
    """Which runs, and which cells."""

    run: Annotated[str, tyro.conf.Positional]
    """Directory of a diffusion or flow-matching run on images."""
    palette: tuple[str, ...] = ()
    """Directories of runs of experiments.palette on the same images."""
    latents: tuple[str, ...] = ()
    """Directories of a GAN and a VAE of the same images, whose latents are searched."""
    operators: tuple[str, ...] = (*OPERATORS, *CHOSEN)
    solvers: tuple[str, ...] = (*GUIDES, *STEPPERS, PARTICLES)
    num: Annotated[int, *within(2, MAX_COUNT)] = 50
    """Test images."""
    draws: Count = 8
    num_steps: Count = 50
    particles: Count = 64
    factor: Count = 2
    """Of super-resolution."""
    border: Count = 2
    """Of uncropping."""
    blur_std: Positive = 1.0
    """Of blur."""
    columns: Count = 12
    """Images of the pictures."""
    status: str = ""
    """What the record of the site says of its origin; it is written where this is given."""


def cell_of(config: Config, saved: Saved, operator: str, solver: str) -> tuple[dict, list] | None:
    """Numbers and rows of one solver; None where it does not solve for this operator.

    `saved` is the prior's run; a GAN or a VAE is searched, whatever the solver's name.
    """
    options = {"operator": operator, **sizes(config), **CHOSEN.get(operator, {})}
    test = data.examples(saved.spec.name, "test", config.num)
    try:
        if solver in LATENTS:
            options = {k: v for k, v in options.items() if k not in ("num_steps", "particles")}
            return latent_search.search(
                latent_search.Config(run=str(saved.directory), **options), saved, test
            )
        chosen = restoring.Config(run=config.run, solver=solver, **options)
        chosen.check()
        return restoring.restore(chosen, saved, test)
    except ConfigError as error:
        print(f"{operator}, {solver}: {error}", flush=True)
        return None


def sizes(config: Config) -> dict[str, Any]:
    """What all cells of a table share."""
    names = ("num", "draws", "num_steps", "particles", "factor", "border", "blur_std")
    return {name: getattr(config, name) for name in names}


def palette_cell(run: str, name: str) -> tuple[str, tuple[dict, list]]:
    """The operator that a Palette was trained for, its numbers and rows."""
    saved = rebuild(run, experiments=("palette",))
    if saved.spec.name != name:
        raise ConfigError(f"palette={run!r} was trained on {saved.spec.name!r}, not on {name!r}")
    test = data.examples(name, "test", palette.IMAGES)
    return saved.config.operator, palette.restore(saved, test)


def latents_of(run: str) -> tuple[str, Saved]:
    """The name of a generator's row, and its run. Raises ConfigError for other models."""
    saved = rebuild(run)
    for name, parts in LATENTS.items():
        if isinstance(saved.model.parts, parts):
            return name, saved
    raise ConfigError(f"latents={run!r} is no run of a GAN or a VAE")


def numbers(report: dict[str, Any]) -> dict[str, Any]:
    """Values and standard errors."""
    return {
        name: {"value": float(report[name].value), "standard_error": float(report[name].error)}
        for name in NUMBERS
        if name in report
    }


def text(cell: dict[str, Any] | None, solver: str) -> str:
    """PSNR of the mean of the draws, in brackets agreement and label accuracy of a draw."""
    if cell is None:
        return ""
    if solver == BACK:
        return f"{cell['psnr_pseudo_inverse']['value']:.1f}"
    rest = [f"{cell[n]['value']:.2f}" for n in ("agreement", "label_accuracy") if n in cell]
    return f"{cell['psnr_mean']['value']:.1f} ({', '.join(rest)})"


def table(cells: dict[str, dict[str, Any]], operators: list[str]) -> list[list[str]]:
    """A row for each solver, a column for each operator; A^+ y first."""
    solvers = dict.fromkeys(name.split(" ")[1] for name in cells)
    rows = []
    for solver in (BACK, *sorted(solvers, key=ORDER.index)):
        of = [next((c for n, c in cells.items() if n.startswith(f"{o} ")), None)
              if solver == BACK else cells.get(f"{o} {solver}") for o in operators]  # fmt: skip
        rows.append([solver, *(text(cell, solver) for cell in of)])
    return rows


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    training.configure_backend(1)
    facts, saved = machine(), rebuild(config.run)
    name = f"restored_{saved.spec.name}"
    before = read(name)
    cells, how = before.get("cells", {}), sizes(config)
    if cells and before.get("how", how) != how:
        raise ConfigError(f"{result_path(name)} has cells of {before['how']}, not of {how}")
    drawn: dict[str, dict[str, np.ndarray]] = {}

    def add(operator: str, solver: str, found: tuple[dict, list] | None) -> None:
        if found is None:
            return
        report, rows = found
        cells[f"{operator} {solver}"] = numbers(report)
        drawn.setdefault(operator, {"image": rows[0], "A^+ y": rows[1]})[solver] = rows[2]
        write(name, facts, {"dataset": saved.spec.name, "how": how, "cells": cells})
        print(operator, solver, {k: v["value"] for k, v in numbers(report).items()}, flush=True)

    def show() -> None:
        for operator, rows in drawn.items():
            shown = np.concatenate([row[: config.columns] for row in rows.values()])
            grid = plotting.image_grid(shown, columns=config.columns)
            path = result_path(name).with_name(f"{name}_{operator}.png")
            plotting.save_image(path, plotting.label_rows(grid, [*rows]))

    for run in config.palette:
        operator, found = palette_cell(run, saved.spec.name)
        add(operator, "palette", found)
    priors = dict.fromkeys(config.solvers, saved) | dict(latents_of(run) for run in config.latents)
    for operator in config.operators:
        for solver, prior in priors.items():
            if f"{operator} {solver}" not in cells:
                add(operator, solver, cell_of(config, prior, operator, solver))
        show()
    operators = [o for o in config.operators if any(n.startswith(f"{o} ") for n in cells)]
    columns, body = ["solver", *operators], table(cells, operators)
    shown = markdown(columns, body)
    result_path(name).with_suffix(".md").write_text(shown, encoding="utf-8")
    if config.status:
        record = {"name": name.replace("_", "-"), "status": config.status}
        write_record({**record, "columns": columns, "rows": body})


if __name__ == "__main__":
    training.run_main(main)
