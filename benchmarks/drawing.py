"""Seconds for 10,000 points of the Clayton copulas: a trained flow beside Markov chains.

    python -m benchmarks.drawing                                         # wants a quiet machine
    python -m benchmarks.drawing --runs runs/clayton-8 runs/clayton-16   # with their refinement

Chains as those of qiu2024: 100 from N(0, I) with steps of 0.1 (HMC of five leapfrogs; five
temperatures), 200 states left out, then 100 kept of each, one after another. Times are medians of
`repeats` after compilation. Drawing from a flow takes as long before training as after, so that
sizes without a run have a row too; refinement needs a run, for its acceptance. Beside the ratio of
times stands that of Wang's slides (Table S1), and the time per effective sample, of the slowest
coordinate over all chains, which allows for chains that stay in their mode.
"""

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro

from benchmarks.arena import CHAINS, chains, timed
from benchmarks.measuring import machine, write
from experiments.shared import runner
from experiments.shared.registry import Saved
from gen_jax import flows, mcmc, training
from gen_jax.errors import check_range
from gen_jax.sampling import importance, make_target
from gen_jax.transport import bijector, refine

POINTS, BURN_IN, STEP_SIZE = 10_000, 200, 0.1
SLIDES = {
    "flow": (0.00206, 0.00449, 0.00899, 0.0169),
    "flow, refined": (0.0148, 0.0263, 0.0547, 0.0928),
    "random walk": (11.8, 16.0, 15.8, 15.6),
    "HMC": (80.9, 133.0, 131.0, 130.0),
    "parallel tempering": (24.9, 32.2, 32.5, 31.9),
}
"""Wang, Table S1: seconds for 10,000 points in 8, 16, 32 and 64 dimensions."""


@dataclass(frozen=True)
class Config:
    """What to measure."""

    dims: tuple[int, ...] = (8, 16, 32, 64)
    runs: tuple[Path, ...] = ()
    """Run directories of `experiments.temperflow` on target:clayton@D."""
    repeats: int = 10
    seed: int = 0


def median_seconds(run: Callable, repeats: int) -> float:
    """After one call that compiles."""
    timed(run)
    return statistics.median(timed(run)[1] for _ in range(repeats))


def flow_rows(key, dim: int, saved: Saved | None, repeats: int) -> dict[str, dict]:
    """Draws of the run's flow, or of a fresh one of the same size, and their refinement."""
    target = make_target("clayton", dim=dim)
    if saved is not None:
        flow = bijector(saved.model, saved.state)
    else:
        layer = flows.spline_flow(hidden=(128, 128), half_width=6.0)
        flow = layer.bijector(layer.init(key, dim))
    sample = lambda key, n: flows.density.sample(key, flow, n, dim)
    propose, draw = lambda keys: sample(keys, len(keys)), jax.jit(lambda key: sample(key, POINTS))
    rows = {"flow": {"seconds": median_seconds(lambda: draw(key), repeats), "ess": POINTS}}
    if saved is None:
        return rows
    x, log_q = draw(key)
    log_z = importance.log_normalizer(target.log_density(x) - log_q).value
    margin = saved.config.margin
    refined = jax.jit(
        lambda key: refine(key, propose, target.log_density, log_z, POINTS, margin=margin)
    )
    facts = {"margin": margin, "acceptance": float(refined(key)[1].acceptance), "ess": POINTS}
    seconds = median_seconds(lambda: refined(key), repeats)
    return {**rows, "flow, refined": {"seconds": seconds, **facts}}


def chain_rows(key, dim: int, repeats: int) -> dict[str, dict]:
    """Published settings of the three chains."""
    target = make_target("clayton", dim=dim)
    x = jax.random.normal(key, (CHAINS, dim))
    rows = {}
    for title, chain in chains(STEP_SIZE).items():
        name, _, settings = title.partition(", ")
        if settings != "published":
            continue
        kernel = chain.make(target.log_density, chain.step_size)
        start = kernel.init(x)
        compiled = mcmc.collect.lower(key, kernel, start, POINTS // CHAINS, BURN_IN, 1).compile()
        samples, _ = compiled(key, start, BURN_IN)
        ess = float(jnp.min(mcmc.effective_sample_size(samples)))
        seconds = median_seconds(lambda: compiled(key, start, BURN_IN), repeats)  # noqa: B023
        rows[name] = {"seconds": seconds, "ess": ess}
    return rows


def measure(config: Config) -> list[dict[str, Any]]:
    """Every row, with its time over that of the flow's draws."""
    saved = {run.spec.shape[0]: run for run in map(runner.rebuild, config.runs)}
    rows = []
    for dim in config.dims:
        key = jax.random.fold_in(jax.random.key(config.seed), dim)
        own = flow_rows(key, dim, saved.get(dim), config.repeats)
        own |= chain_rows(key, dim, config.repeats)
        once = own["flow"]["seconds"]
        for name, numbers in own.items():
            index = {8: 0, 16: 1, 32: 2, 64: 3}.get(dim)
            known = None if index is None else SLIDES[name][index] / SLIDES["flow"][index]
            each = numbers["seconds"] / numbers["ess"] / (once / POINTS)
            ratios = {"ratio": numbers["seconds"] / once, "ratio_slides": known}
            rows.append({"dim": dim, "sampler": name, **numbers, **ratios, "ratio_per_ess": each})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def table(rows: list[dict]) -> str:
    """Markdown: one line per row."""
    head = "| d | sampler | seconds | of the flow's | slides | per effective sample |"
    lines = [head, "|" + " --- |" * 6]
    for r in rows:
        known = "" if r["ratio_slides"] is None else f"{r['ratio_slides']:,.0f}"
        lines.append(
            f"| {r['dim']} | {r['sampler']} | {r['seconds']:.3g} | {r['ratio']:,.2g} | {known} "
            f"| {r['ratio_per_ess']:,.2g} |"
        )
    return "\n".join(lines)


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    check_range("repeats", config.repeats, 1, integer=True)
    training.configure_backend(1)
    facts = machine()
    rows = measure(config)
    write("drawing", facts, {"rows": rows})
    print(table(rows))


if __name__ == "__main__":
    training.run_main(main)
