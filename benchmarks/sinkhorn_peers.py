"""Our Sinkhorn iteration beside ott-jax and POT: same cost, epsilon and stop rule, in turns.

    pip install --target DIRECTORY ott-jax POT
    python -m benchmarks.sinkhorn_peers --peers DIRECTORY

Two Gaussian clouds, squared distances, float32. All stop when the rows' marginal error (sum of
absolute differences, looked at every ten iterations) is below the tolerance; POT, whose rule is
another, makes as many iterations as we do. Every solver returns the plan; errors and costs are
taken from it, and who misses the tolerance (scalings underflow at a small epsilon) has no ratio.
Ratios are the medians of time(peer) / time(ours) over pairs of runs, after a warm-up. Writes
`benchmarks/results/sinkhorn_peers_DEVICE.json`, with the machine's load at the time: other work on
it blurs the times more than the ratios.
"""

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.measuring import machine, seconds, time_ratio, write
from gen_jax import training
from gen_jax.divergences import sinkhorn
from gen_jax.divergences.wasserstein import distance_cost


@dataclass(frozen=True)
class Config:
    """What to measure."""

    peers: Path
    """The directory that holds ott-jax and POT; searched last, so that jax is our own."""
    sizes: tuple[int, ...] = (256, 1024)
    """Points in each cloud."""
    epsilons: tuple[float, ...] = (0.1, 0.01)
    """In units of the mean cost."""
    tolerance: float = 1e-3
    max_iterations: int = 2000
    repeats: int = 5


Solver = Callable[[Any], Any]


def ours(epsilon: float, config: Config) -> Solver:
    def run(cost):
        limits = {"tolerance": config.tolerance, "max_iterations": config.max_iterations}
        solution = sinkhorn.solve(cost, epsilon, **limits)
        return jnp.exp(solution.log_plan(cost, epsilon)), solution.iterations

    return jax.jit(run)


def of_ott(epsilon: float, config: Config, lse_mode: bool) -> Solver:
    from ott.geometry import geometry
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import sinkhorn as ott_sinkhorn

    solver = ott_sinkhorn.Sinkhorn(
        lse_mode=lse_mode,
        threshold=config.tolerance,
        inner_iterations=sinkhorn.BLOCK,
        max_iterations=config.max_iterations,
    )

    def run(cost):
        geom = geometry.Geometry(cost_matrix=cost, epsilon=epsilon)
        out = solver(linear_problem.LinearProblem(geom))
        return out.matrix, out.n_iters

    return jax.jit(run)


def of_pot(epsilon: float, method: str, iterations: int) -> Solver:
    import ot

    def run(cost):
        cost = np.asarray(cost)
        a = np.full(len(cost), 1 / len(cost), cost.dtype)
        options = {"numItermax": iterations, "stopThr": 0.0, "warn": False}
        return ot.sinkhorn(a, a, cost, epsilon, method=method, **options), iterations

    return run


def peers(epsilon: float, config: Config, iterations: int) -> dict[str, Solver]:
    """Title -> solver."""
    return {
        "ott-jax, logarithms": of_ott(epsilon, config, True),
        "ott-jax, scalings": of_ott(epsilon, config, False),
        "POT sinkhorn_log": of_pot(epsilon, "sinkhorn_log", iterations),
        "POT sinkhorn": of_pot(epsilon, "sinkhorn", iterations),
    }


def quality(run: Solver, cost) -> dict[str, float]:
    """Iterations, marginal errors of both sides and transport cost of the plan, in float64."""
    plan, iterations = run(cost)
    plan = np.asarray(plan, np.float64)
    sides = [np.abs(plan.sum(axis) - 1 / len(plan)).sum() for axis in (0, 1)]
    total = float((plan * np.asarray(cost, np.float64)).sum())
    return {"iterations": int(iterations), "error": float(f"{max(sides):.2g}"), "cost": total}


def measure(n: int, relative: float, config: Config) -> list[dict[str, Any]]:
    """One row per solver."""
    key_a, key_b = jax.random.split(jax.random.key(0))
    b = 0.7 * jax.random.normal(key_b, (n, 2)) + 1
    cost = distance_cost(jax.random.normal(key_a, (n, 2)), b)
    epsilon = relative * float(cost.mean())
    solve = ours(epsilon, config)
    base = {"n": n, "epsilon": relative}
    own = quality(solve, cost)
    times = [seconds(lambda: solve(cost)) for _ in range(config.repeats)]
    rows = [{**base, "solver": "ours", **own, "ms": round(1e3 * statistics.median(times), 2)}]
    for title, peer in peers(epsilon, config, own["iterations"]).items():
        row = {**base, "solver": title, **quality(peer, cost)}
        if row["error"] <= 2 * config.tolerance:
            ratio = time_ratio(lambda run=peer: run(cost), lambda: solve(cost), config.repeats)
            row["ratio"] = round(ratio, 2)
        rows.append(row)
    return rows


def main() -> None:
    config = tyro.cli(Config)
    sys.path.append(str(config.peers))
    training.configure_backend(1)
    facts = machine()
    rows = []
    for n in config.sizes:
        for relative in config.epsilons:
            for row in measure(n, relative, config):
                rows.append(row)
                print(row, flush=True)
    write("sinkhorn_peers", facts, {"rows": rows, "tolerance": config.tolerance})


if __name__ == "__main__":
    training.run_main(main)
