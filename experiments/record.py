"""Keep what a run measured as one small file, from which the tables of the results are made.

    python -m experiments.record runs/diffusion-digits
    python -m experiments.record runs/gan-digits --name gan-digits-r1 --title "digits, GAN with R1"

Writes NAME.json (options, command, versions, device, seconds, the evaluation) and NAME.png (the
last samples, at most 60 kB). Then `python docs/results/render.py` makes the tables again.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import tyro

from experiments.shared import records
from experiments.shared.command_line import read_options
from gen_jax import training
from gen_jax.errors import ConfigError
from gen_jax.ranges import check_ranges
from gen_jax.writing import replacing


@dataclass(frozen=True)
class Config:
    """Which run, and where its record goes."""

    run: tyro.conf.Positional[str]
    """Directory of a run that ended and was evaluated."""
    name: str | None = None
    """Of the record; that of the directory if not given."""
    title: str | None = None
    """What the table calls it; the name if not given."""
    folder: str = "docs/results/records"


def main() -> None:
    config = read_options(Config, __doc__)
    check_ranges(config)
    directory = Path(config.run)
    name = config.name or directory.resolve().name
    if not re.fullmatch(r"[\w.-]+", name):
        raise ConfigError(f"name={name!r} must be letters, digits, '-', '_' and '.'")
    record = {"kind": "run", "name": name, "title": config.title or name}
    record |= records.of_run(directory)
    if not record["evaluation"]:
        raise ConfigError(
            f"run {config.run!r} has no numbers: run `python -m experiments.evaluate {config.run}`"
        )
    path = training.check_writable("folder", Path(config.folder) / f"{name}.json")
    picture = records.last_picture(directory)
    if picture is not None:
        small = records.small_png(picture)
        with replacing(path.with_suffix(".png")) as file:
            file.write_bytes(small)
    training.write_json(path, {**record, "picture": f"{name}.png" if picture else None})
    print(f"written: {path}")
    if config.folder == Config.folder:
        print("next: python docs/results/render.py")


if __name__ == "__main__":
    training.run_main(main)
