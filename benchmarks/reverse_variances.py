"""What a learned reverse variance buys: the bound in bits/dim at few and many steps.

    python -m experiments.diffusion --loss hybrid --directory runs/hybrid
    python -m benchmarks.reverse_variances runs/hybrid

One trained network, the variational bound on test images with the posterior variance, the upper
one, and the learned one, at each number of steps uniform in log-SNR. Writes
`benchmarks/results/reverse_variances_DATASET_BACKEND.json` and prints a Markdown table.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.measuring import machine, write
from experiments.shared.likelihoods import in_batches
from experiments.shared.registry import Saved
from experiments.shared.runner import rebuild
from gen_jax import data, metrics, training
from gen_jax.diffusion import GRIDS, Parts, denoiser_and_fraction, variational_bound
from gen_jax.errors import ConfigError
from gen_jax.frozen import parts_of


@dataclass(frozen=True)
class Config:
    """Which run, and how much is measured."""

    run: Annotated[str, tyro.conf.Positional]
    """Directory of a run of experiments.diffusion with --loss hybrid."""
    steps: tuple[int, ...] = (10, 30, 100, 300, 1000)
    examples: int = 300
    most_terms: int = 100
    """Inner steps that are evaluated, at most; the others are left out without bias."""


def bits(saved: Saved, x: np.ndarray, kind: str, steps: int, most: int) -> Any:
    """Bits/dim of uint8 images with one of the variances, and its standard error."""
    parts, _ = parts_of(saved.model, saved.state, Parts)
    times = GRIDS["log_snr"](parts.path, steps)[-2::-1]

    @jax.jit
    def bound(key, state, x):
        both = denoiser_and_fraction(saved.model, state)
        fraction: Any = {"posterior": 0.0, "upper": 1.0, "learned": lambda x, t: both(x, t)[1]}
        x0 = (x.astype(jnp.float32) + 0.5) / 128 - 1
        terms = variational_bound(
            key,
            lambda x, t: both(x, t)[0],
            parts.path,
            x0,
            times=times,
            num_samples=min(steps - 1, most),
            fraction=fraction[kind],
        )
        return -(terms["prior"] + terms["diffusion"] + terms["reconstruction"])

    nats = in_batches(lambda key, x: bound(key, saved.state, x), x)
    return metrics.mean_and_error(np.asarray(metrics.bits_per_dim(nats, x[0].size)))


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    training.configure_backend(1)
    facts = machine()
    saved = rebuild(config.run, experiments=("diffusion",))
    if saved.config.loss != "hybrid" or saved.spec.kind != "images":
        raise ConfigError(f"run {config.run!r} must be of images with loss='hybrid'")
    x = data.examples(saved.spec.name, "test", config.examples)["x"]
    rows: dict[str, dict[str, Any]] = {}
    print("| steps | posterior | upper | learned |\n| --- | --- | --- | --- |")
    for steps in config.steps:
        found = {
            kind: bits(saved, x, kind, steps, config.most_terms)
            for kind in ("posterior", "upper", "learned")
        }
        rows[str(steps)] = {
            k: {"value": float(v.value), "standard_error": float(v.error)} for k, v in found.items()
        }
        print(f"| {steps} | " + " | ".join(map(str, found.values())) + " |", flush=True)
    report = {"dataset": saved.spec.name, "examples": len(x), "bits_per_dim_by_steps": rows}
    write(f"reverse_variances_{saved.spec.name}", facts, report)


if __name__ == "__main__":
    training.run_main(main)
