"""What there is: experiments, datasets, paths, samplers and the rest, one line each.

python -m experiments.list
"""

import importlib

from experiments.runner import EXPERIMENTS
from gen_jax import diffusion, divergences, metrics, paths
from gen_jax.data import DATASETS, PATTERNS
from gen_jax.training import run_main


def first_line(thing: object) -> str:
    """The first line of a docstring; nothing for a lambda."""
    return (getattr(thing, "__doc__", None) or "").strip().split("\n")[0]


def sections() -> dict[str, dict[str, str]]:
    """Title -> name -> one line."""
    modules = {n: first_line(importlib.import_module(m)) for n, m in EXPERIMENTS.items()}
    registries = {
        "paths": paths.PATHS,
        "samplers (steppers)": diffusion.STEPPERS,
        "time grids": diffusion.GRIDS,
        "loss weightings": diffusion.WEIGHTINGS,
        "densities of training times": diffusion.TIME_DENSITIES,
        "couplings": divergences.couplings.COUPLINGS,
        "metrics": metrics.METRICS,
    }
    return {
        "experiments": modules,
        "datasets": {n: entry.description for n, entry in DATASETS.items()} | PATTERNS,
        **{t: {n: first_line(f) for n, f in r.items()} for t, r in registries.items()},
    }


def main() -> None:
    for title, rows in sections().items():
        print(title)
        for name, line in rows.items():
            print(f"  {name:24s} {line}".rstrip())
        print()


if __name__ == "__main__":
    run_main(main)
