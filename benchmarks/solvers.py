"""The error of every deterministic sampler to the exact flow, beside diffusers and k-diffusion.

    python -m benchmarks.solvers                                # two mixtures in the plane
    python -m benchmarks.solvers --runs runs/diffusion-digits   # and a trained network
    python -m benchmarks.solvers --runs RUN --no-mixtures       # keep the mixtures' rows
    python -m benchmarks.solvers --solvers adams                # keep those of the other samplers

Samplers x grids x paths at 5 to 80 network calls: root mean square distance of the end points to
those of the exact flow from the same noise. For mixtures of Gaussians the denoiser is exact; for a
network the truth is its own flow by 300 steps of the classical Runge-Kutta method, in levels of
255. Writes `benchmarks/results/solvers_cpu.json`, `.md` and `.png`. The peers need
`pip install torch diffusers k-diffusion`; `--no-peers` leaves them out.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.measuring import RESULTS, machine, network_calls, write, write_record
from experiments.shared.runner import rebuild
from gen_jax import diffusion, plotting, training
from gen_jax.paths import PATHS, GaussianPath, cosine

CALLS = (5, 10, 20, 40, 80)
SHOWN = ("linear", "vp", "edm")
IN_TIME = ("euler", "heun", "midpoint", "rk4")
DEFAULT = "adams"
TRUTH_STEPS = 600
NAME = "error-of-samplers"


class Problem(NamedTuple):
    """`denoise(parameters, x, t)` on the cosine path, the data's size, the first noise, unit."""

    denoise: Callable
    parameters: Any
    std: float
    z: np.ndarray
    unit: float = 1.0


def mixture(weights, means, stds, num: int) -> Problem:
    """Round Gaussians in the plane."""
    covariances = jnp.asarray(stds, jnp.float32)[:, None, None] ** 2 * jnp.eye(2)
    parts = (jnp.asarray(weights, jnp.float32), jnp.asarray(means, jnp.float32), covariances)
    # Modes of weight 0 fill up to 25, so that all mixtures share the compiled samplers.
    parts = jax.tree.map(lambda a: jnp.concatenate([a, 0 * a[:1].repeat(25 - len(a), 0)]), parts)
    z = np.asarray(jax.random.normal(jax.random.key(0), (num, 2)))
    return Problem(mixture_on_cosine, parts, 1.0, z)


def mixture_on_cosine(parts, x, t):
    return diffusion.mixture_denoiser(*parts, cosine())(x, t)


def mixtures(num: int) -> dict[str, Problem]:
    """Three narrow modes of different widths and weights, and 25 narrow modes on a square."""
    row = np.linspace(-2, 2, 5) / np.sqrt(2)
    square = np.stack(np.meshgrid(row, row), -1).reshape(-1, 2)
    three = [[1, 0.5], [-1.2, 0.8], [0.1, -1.5]]
    return {
        "three modes": mixture([0.5, 0.3, 0.2], np.array(three), [0.12, 0.08, 0.05], num),
        "25 modes": mixture(np.full(25, 0.04), square, np.full(25, 0.035), num),
    }


def network(directory: str, num: int) -> Problem:
    """A trained run with its labels in turn; errors in grey levels."""
    from experiments.shared.diffusion_options import transform_of
    from experiments.shared.networks import make_network
    from gen_jax.paths import transfer

    saved = rebuild(directory)
    spec, config = saved.spec, saved.config
    _, std = transform_of(spec)
    path = PATHS[config.path]()
    apply = make_network(config.network, spec).apply
    p = diffusion.Preconditioned(apply, path, config.prediction, std)
    labels = jnp.arange(num) % spec.num_classes if spec.num_classes else None

    def on_cosine(params, x, t):
        denoise = diffusion.network_denoiser(p, params, labels)
        return (denoise if config.path == "cosine" else transfer(denoise, path, cosine()))(x, t)

    z = np.asarray(jax.random.normal(jax.random.key(0), (num, *spec.shape)))
    return Problem(on_cosine, saved.state.ema, std, z, unit=127.5)


def at_levels(problem: Problem) -> Callable:
    """`(x, alpha, sigma) -> E[x0 | x]` at any scale: D depends on x / alpha and sigma / alpha."""

    def denoise(x, alpha, sigma):
        t = jnp.full(x.shape[:1], 2 / jnp.pi * jnp.arctan2(sigma, alpha))
        return problem.denoise(problem.parameters, x / jnp.hypot(alpha, sigma), t)

    return denoise


def run(problem: Problem, path: GaussianPath, stepper, times):
    """(end points, calls) from the noise of times[0]."""
    level = at_levels(problem)
    denoise = lambda x, t: level(x, path.alpha(t[0]), path.sigma(t[0]))
    scale = jnp.hypot(path.sigma(times[0]), path.alpha(times[0]) * problem.std)
    x, info = diffusion.sample_with_info(
        jax.random.key(0), denoise, path, scale * problem.z, times, stepper,
        data_std=problem.std,
    )  # fmt: skip
    return x, info.calls


class Truth:
    """The exact flow from a noise level on, computed once for each.

    By the classical Runge-Kutta method at steps that shrink towards both ends, where a network that
    sees log(sigma / alpha) is not smooth in t: `adams`' place of a level, with k = 2.
    """

    def __init__(self, problem: Problem, steps: int) -> None:
        self.problem, self.steps, self.found = problem, steps, {}

    def __call__(self, level: float) -> np.ndarray:
        key = float(np.float32(level))
        if key not in self.found:
            path, std = cosine(), self.problem.std
            place = np.linspace(1 / (1 + np.sqrt(std / key)), 0, self.steps + 1)
            with np.errstate(divide="ignore"):  # pure noise is at an infinite level
                levels = std * (place / (1 - place)) ** 2
            times = jnp.asarray(2 / np.pi * np.arctan(levels))
            solve = jax.jit(lambda t: run(self.problem, path, diffusion.runge_kutta("rk4"), t)[0])
            self.found[key] = np.asarray(solve(times))
        return self.found[key]


def grids_of(stepper: str) -> tuple[str, ...]:
    """The grids tried with a stepper; its own is among them."""
    return ("uniform", "flow", "power", "stretched", "karras", "log_snr") + (
        () if stepper in IN_TIME else ("linear", "log_snr 0.01-20")
    )


def grid_times(name: str, path: GaussianPath, steps: int, std: float) -> jax.Array:
    """Times of a grid; one with two numbers in its name has that range, as far as the path has."""
    name, *ends = name.split()
    options: dict[str, Any] = {"data_std": std}
    if ends:
        low, high = (float(end) for end in ends[0].split("-"))
        options |= {"sigma_min": low, "sigma_max": high}
    return diffusion.GRIDS[name](path, steps, **options)


def solver(problem: Problem, make: Callable, paths: tuple[str, ...]) -> Callable:
    """`(parameters, index of the path, times) -> (end points, calls)`, compiled for each size."""
    makers = [PATHS[path]() for path in paths]
    pick = lambda index, functions: lambda t: jax.lax.switch(index, functions, t)

    @jax.jit
    def solve(parameters, index, times):
        path = GaussianPath(
            pick(index, [p.alpha for p in makers]), pick(index, [p.sigma for p in makers])
        )
        return run(problem._replace(parameters=parameters), path, make(), times)

    return solve


def own_rows(
    problems: dict[str, Problem], truths: dict[str, Truth], config: "Config"
) -> list[dict[str, Any]]:
    """Every deterministic stepper on every grid and path, for problems of one shape."""
    rows = []
    for stepper, make in diffusion.STEPPERS.items():
        if make().stochastic or stepper == "adaptive" or stepper not in config.solvers:
            continue
        solve = solver(next(iter(problems.values())), make, config.paths)
        per_step = network_calls(make())[1]
        for calls in CALLS:
            steps = max(2, -(-calls // per_step))
            for (name, problem), (index, path), grid in product(
                problems.items(), enumerate(config.paths), grids_of(stepper)
            ):
                ends = PATHS[path]()
                times = grid_times(grid, ends, steps, problem.std)
                x, used = solve(problem.parameters, index, times)
                gap = np.asarray(x) - truths[name](
                    float(ends.sigma(times[0]) / ends.alpha(times[0]))
                )
                rows.append({
                    "problem": name, "path": path, "solver": stepper, "grid": grid,
                    "own_grid": grid == make().grid, "budget": calls, "calls": int(used),
                    "rms": float(f"{np.sqrt((gap**2).mean()) * problem.unit:.4g}"),
                })  # fmt: skip
        print(stepper, flush=True)
    return rows


def peer_rows(name: str, problem: Problem, truth: Truth) -> list[dict[str, Any]]:
    """The same of diffusers and k-diffusion."""
    from benchmarks.solver_peers import peers

    level = jax.jit(at_levels(problem))
    denoise = lambda x, alpha, sigma: np.asarray(level(x, alpha, sigma), np.float64)
    rows = []
    for path, title, peer in peers(problem.std):
        for calls in CALLS:
            x, first, used = peer(denoise, problem.z.astype(np.float64), calls)
            gap = x - truth(first)
            rows.append({
                "problem": name, "path": path, "solver": title, "budget": calls, "calls": used,
                "rms": float(f"{np.sqrt((gap**2).mean()) * problem.unit:.4g}"),
            })  # fmt: skip
    print(name, "peers", flush=True)
    return rows


def best(rows: list[dict[str, Any]], calls: int) -> dict[str, Any]:
    return min((r for r in rows if r["budget"] == calls), key=lambda r: r["rms"])


def ratios_of(mine: list, theirs: list) -> Iterator[tuple[str, str, list[float]]]:
    """(path, "the same path" or "any path", error of the default over the best peer's there)."""
    for path in dict.fromkeys(row["path"] for row in mine):
        here = (DEFAULT, path)
        kept = [r for r in mine if r["own_grid"] and (r["solver"], r["path"]) == here]
        same = [r for r in theirs if r["path"] == path]
        for peer, rows in (("the same path", same), ("any path", theirs)):
            if kept and rows:
                yield path, peer, [best(kept, c)["rms"] / best(rows, c)["rms"] for c in CALLS]


def record(own: list, others: list, status: str) -> dict[str, Any]:
    """The table of the site: the default's error over that of the best peer."""
    body = []
    for problem in dict.fromkeys(row["problem"] for row in own):
        mine, theirs = ([r for r in rows if r["problem"] == problem] for rows in (own, others))
        body += [
            [problem, path, peer, *(f"{ratio:.2f}" for ratio in ratios)]
            for path, peer, ratios in ratios_of(mine, theirs)
        ]
    columns = ["denoiser", "path", "best peer on", *(f"{calls} calls" for calls in CALLS)]
    return {"name": NAME, "status": status, "columns": columns, "rows": body}


def table(own: list[dict[str, Any]], others: list[dict[str, Any]]) -> str:
    """Default, best of each stepper on its own grid, and best peers, in Markdown."""
    lines = []
    for problem in dict.fromkeys(row["problem"] for row in own):
        mine = [r for r in own if r["problem"] == problem]
        theirs = [r for r in others if r["problem"] == problem]
        lines += [f"\n## {problem}\n", f"| | {' | '.join(f'{c} calls' for c in CALLS)} |"]
        lines.append("| --- |" + " --- |" * len(CALLS))
        paths = list(dict.fromkeys(r["path"] for r in mine))
        for path in paths:
            for stepper in dict.fromkeys(r["solver"] for r in mine):
                rows = [r for r in mine if (r["solver"], r["path"]) == (stepper, path)]
                kept = [r for r in rows if r["own_grid"]]
                grid = kept[0]["grid"]
                cells = [f"{best(kept, c)['rms']:.4f}" for c in CALLS]
                lines.append(f"| {path}, {stepper}, {grid} | {' | '.join(cells)} |")
        for path in dict.fromkeys(r["path"] for r in theirs):
            rows = [r for r in theirs if r["path"] == path]
            cells = [f"{(b := best(rows, c))['rms']:.4f} ({b['solver']})" for c in CALLS]
            lines.append(f"| **best peer, {path}** | {' | '.join(cells)} |")
        for path, peer, ratios in ratios_of(mine, theirs):
            cells = [f"{ratio:.2f}" for ratio in ratios]
            lines.append(f"| **{path}: default / best peer on {peer}** | {' | '.join(cells)} |")
        choice = [best(mine, c) for c in CALLS]
        cells = [f"{b['rms']:.4f} ({b['solver']}, {b['grid']}, {b['path']})" for b in choice]
        lines.append(f"| best of all grids and paths | {' | '.join(cells)} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Config:
    """What to measure."""

    runs: tuple[str, ...] = ()
    """Directories of trained runs of `experiments.diffusion` on images."""
    mixtures: bool = True
    """Measure the mixtures; otherwise the rows of the last time are kept, as of other runs."""
    num: int = 512
    """Points; images are a quarter of it."""
    peers: bool = True
    paths: tuple[str, ...] = SHOWN
    solvers: tuple[str, ...] = tuple(diffusion.STEPPERS)
    """Samplers to measure; those with noise are left out. Rows of others are kept: say so only of
    the same problems, which the peers' rows, measured again, tell."""
    record: bool = False
    """Write the record of the site as well."""
    status: str = ""
    """What the record says of its origin: commit and machine."""


def picture(rows: list[dict[str, Any]], problem: str) -> Any:
    """Error against calls on the linear path: each stepper on its own grid, the best peer there."""
    chosen = [r for r in rows if r["problem"] == problem]
    own = [r for r in chosen if r.get("own_grid") and r["path"] == "linear"]
    curves = {
        title: [(r["calls"], r["rms"]) for r in own if r["solver"] == title]
        for title in dict.fromkeys(r["solver"] for r in own)
    }
    theirs = [r for r in chosen if "own_grid" not in r and r["path"] == "linear"]
    if theirs:
        curves["best peer"] = [(best(theirs, c)["calls"], best(theirs, c)["rms"]) for c in CALLS]
    return plotting.quality_versus_calls(curves, f"rms to the exact flow, {problem}")


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    training.configure_backend(1)
    facts = machine(*(("torch", "diffusers", "k-diffusion") if config.peers else ()))
    groups = [mixtures(config.num)] if config.mixtures else []
    for directory in config.runs:
        name = f"a network, {rebuild(directory).spec.name}"
        groups.append({name: network(directory, config.num // 4)})
    for problems in groups:
        truths = {n: Truth(p, TRUTH_STEPS if p.unit == 1 else 300) for n, p in problems.items()}
        others = []
        own = own_rows(problems, truths, config)
        for name, problem in problems.items():
            others += peer_rows(name, problem, truths[name]) if config.peers else []
        report(config, facts, *kept(own, others))


def kept(own: list, others: list) -> tuple[list, list]:
    """The rows measured now, after those that the file has of other samplers and problems."""
    path = RESULTS / "solvers_cpu.json"
    before = json.loads(path.read_text()) if path.exists() else {"own": [], "peers": []}
    case = lambda row: (row["problem"], row["solver"])

    def merged(old: list, new: list) -> list:
        measured = set(map(case, new))
        rows = [row for row in old if case(row) not in measured] + new
        first = list(dict.fromkeys(row["problem"] for row in old + new))
        return sorted(rows, key=lambda row: first.index(row["problem"]))

    return merged(before["own"], own), merged(before["peers"], others)


def report(config: Config, facts: dict[str, Any], own: list, others: list) -> None:
    """Write what has been measured so far as JSON, Markdown and a picture.

    Of the grids of a sampler, its own and the best one are written.
    """
    case = lambda r: (r["problem"], r["path"], r["solver"], r["budget"])
    least = {case(r): r for r in sorted(own, key=lambda r: -r["rms"])}
    own = [r for r in own if r["own_grid"] or r is least[case(r)]]
    write("solvers", facts, {"points": config.num, "own": own, "peers": others})
    text = "# Root mean square error to the exact flow\n" + table(own, others)
    (RESULTS / "solvers_cpu.md").write_text(text + "\n", encoding="utf-8")
    tried = Counter(problem for problem, _ in {(r["problem"], r["solver"]) for r in own})
    order = reversed(dict.fromkeys(row["problem"] for row in own))
    shown = max(order, key=tried.__getitem__)  # the last one of those with most samplers
    plotting.save(picture(own + others, shown), RESULTS / "solvers.png")
    print(text)
    if config.record:
        write_record(record(own, others, config.status))


if __name__ == "__main__":
    training.run_main(main)
