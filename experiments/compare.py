"""Runs side by side: the options in which they differ, their cost, what was measured, pictures.

    python -m experiments.compare runs/diffusion-digits runs/flow_matching-digits

Prints the table, and writes it with the pictures as one HTML page; `--output FILE.csv` writes it as
CSV. Runs that differ in their seed alone are also shown as one: mean and standard deviation.
"""

from dataclasses import dataclass

import tyro

from experiments.shared.command_line import read_options
from experiments.shared.comparison import compare
from gen_jax import training
from gen_jax.errors import ConfigError
from gen_jax.ranges import check_ranges


@dataclass(frozen=True)
class Config:
    """Which runs."""

    runs: tyro.conf.Positional[tuple[str, ...]]
    """Directories of two or more runs."""
    output: str = "compare.html"
    """The page, or a file that ends with .csv: a line for each run, numbers with all digits."""


def main() -> None:
    config = read_options(Config, __doc__)
    check_ranges(config)
    if len(config.runs) < 2:
        raise ConfigError(f"runs={list(config.runs)} must be two directories or more")
    print(compare(config.runs, config.output))
    print(f"written: {config.output}")


if __name__ == "__main__":
    training.run_main(main)
