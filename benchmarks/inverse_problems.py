"""The calibrated table: every solver of inverse problems beside the exact posterior.

    python -m benchmarks.inverse_problems
    python -m benchmarks.inverse_problems --dims 2 8 --solvers dps moment_matching

Priors are Gaussian mixtures in 2, 8 and 64 dimensions, the last fitted to 8x8 digits by expectation
maximisation, so that the denoiser and the posterior are exact: what is measured is the solver's own
error. Of each operator `PROBLEMS` true points are drawn and measured with noise `NOISE_STD`; each
posterior is sampled by every solver from the end of the linear path, with at most as many network
calls as the budget (steps of ddim at equal times; ddrm on its own grid). Solvers:

- the guides, dps also with its authors' scale ("dps, residual_norm"); ddrm; replacement and RePaint
  (inpainting alone: they take y as exact);
- twisted sequential Monte Carlo with `gaussian_twist`, as many particles as draws, resampled at
  the end;
- "exact guidance": E[x0 | x_t, y] itself, which leaves the error of the sampler's steps alone.

Numbers: total variation of the posterior's mode weights (mean responsibilities of the draws), the
sliced Wasserstein distance to exact posterior draws, both beside those of a second exact set;
coverage of the truth by central intervals; calls of the network and of its derivative. Draws that
are not finite, or beyond `LIMIT`, are counted and set to the limit.

Written row by row to `benchmarks/results/inverse_problems_DEVICE.json`; rows that are there are not
measured again. Beside it the whole table, `.md`, and a plot; `--record` writes the means over
operators for the site.
"""

import itertools
import json
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.inverse_cases import (
    DRAWS,
    INPAINT,
    PATH,
    SHAPES,
    SOLVERS,
    Case,
    Problems,
    operators_of,
    prior_of,
    problems_of,
    steps_within,
)
from benchmarks.measuring import RESULTS, machine, read, result_path, write, write_record
from gen_jax import diffusion, inverse, plotting, training
from gen_jax.classical import mixture
from gen_jax.divergences import sliced_wasserstein
from gen_jax.errors import ConfigError, check_choice, check_range
from gen_jax.types import Array

LIMIT = 10.0
EXACT_DRAWS = "exact draws"
NAME = "calibrated-inverse-problems"


def compared(draws: Array, truth, posterior, exact) -> dict[str, Array]:
    """Numbers of each problem [P], for draws [P, S, D]."""

    def one(x, found, exact):
        shares = mixture.responsibilities(mixture.Mixture(*found[:3]), x).mean(0)
        variation = 0.5 * jnp.sum(jnp.abs(shares - found.weights))
        return variation, sliced_wasserstein(jax.random.key(2), x, exact, num_projections=64)

    variation, distance = jax.vmap(one)(draws, posterior, exact)
    return {
        "mode_weight_tv": variation,
        "sliced_wasserstein": distance,
        "coverage_50": inverse.coverage(draws, truth, 0.5),
        "coverage_90": inverse.coverage(draws, truth, 0.9),
    }


def measure(solver: str, dim: int, budget: int, prior, problems: Problems, seed: int) -> list[dict]:
    """A row for each operator."""
    names = [name for name in operators_of(dim) if solver not in INPAINT or name == "inpainting"]
    mean = prior.weights @ prior.means
    spread = jnp.einsum("kii->ki", prior.covariances) + (prior.means - mean) ** 2
    data_std = float(jnp.sqrt(jnp.mean(prior.weights @ spread)))
    denoise = diffusion.mixture_denoiser(*prior, PATH)
    steps, calls, derivatives = steps_within(solver, budget)

    @jax.jit
    def run(key, problems: Problems):
        def one(inputs):
            key, problem = inputs
            case = Case(
                denoise, problem.measurement.operator(), problem.y, problem.posterior,
                data_std, DRAWS[dim],
            )  # fmt: skip
            x = SOLVERS[solver](key, case, steps)
            lost = ~jnp.all(jnp.abs(x) <= LIMIT, axis=-1)
            x = jnp.clip(jnp.nan_to_num(x, nan=LIMIT), -LIMIT, LIMIT)
            found = compared(x, problem.truth, problem.posterior, problem.exact)
            return found | {"lost": jnp.mean(lost)}

        keys = jax.random.split(key, len(names))
        return jax.lax.map(one, (keys, problems))

    found = run(jax.random.key(seed), jax.tree.map(lambda a: a[: len(names)], problems))
    head = {"dim": dim, "solver": solver, "budget": budget}
    tail = {"calls": calls, "derivatives": derivatives}
    return [head | row | tail for row in rows_of(names, found)]


def rows_of(names: list[str], found: dict[str, Array]) -> list[dict]:
    """A row for each operator; means over problems, with the standard error of the first two."""
    rows: list[dict] = []
    for index, name in enumerate(names):
        row: dict = {"operator": name}
        for measured, values in found.items():
            value = np.asarray(values[index], np.float64)
            row[measured] = float(value.mean())
            if value.ndim:
                row[f"{measured}_error"] = float(value.std(ddof=1) / np.sqrt(len(value)))
        rows.append(row)
    return rows


def floor(dim: int, problems: Problems) -> list[dict]:
    """The same of a second exact set."""
    found = jax.jit(jax.vmap(compared))(
        problems.again, problems.truth, problems.posterior, problems.exact
    )
    head = {"dim": dim, "solver": EXACT_DRAWS, "budget": 0}
    tail = {"lost": 0.0, "calls": 0, "derivatives": 0}
    return [head | row | tail for row in rows_of([*operators_of(dim)], found)]


def mean_of(rows: list[dict], name: str) -> float:
    """Over operators."""
    return float(np.mean([row[name] for row in rows]))


def table(rows: list[dict]) -> str:
    """Every row in Markdown."""
    shown = ("mode_weight_tv", "sliced_wasserstein", "coverage_50", "coverage_90", "lost")
    head = ("dim", "solver", "budget", "operator", *shown, "calls", "derivatives")
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in rows:
        cells = (f"{row[n]:.3f}" if n in shown else str(row[n]) for n in head)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def of(rows: list[dict], **wanted) -> list[dict]:
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def record(rows: list[dict], budgets: tuple[int, ...], status: str) -> dict:
    """The table of the site: means over operators; the solvers of inpainting have their one."""
    body = []
    for dim in sorted({row["dim"] for row in rows}):
        for solver in (EXACT_DRAWS, *SOLVERS):
            mine = of(rows, dim=dim, solver=solver)
            if not mine:
                continue
            last = of(mine, budget=max(row["budget"] for row in mine))
            at = (0,) if solver == EXACT_DRAWS else budgets
            along = [of(mine, budget=budget) for budget in at]
            cells = [
                [f"{mean_of(part, name):.3f}" if part else "-" for part in along]
                for name in ("mode_weight_tv", "sliced_wasserstein")
            ]
            body.append([
                f"{dim}", solver + (" (inpainting)" if solver in INPAINT else ""),
                *(", ".join(line) for line in cells),
                f"{mean_of(last, 'coverage_50'):.2f}", f"{mean_of(last, 'coverage_90'):.2f}",
                f"{100 * mean_of(last, 'lost'):.1f}",
                f"{last[0]['calls']}, {last[0]['derivatives']}",
            ])  # fmt: skip
    along_budgets = ", ".join(map(str, budgets))
    return {
        "name": NAME,
        "status": status,
        "columns": [
            "dimensions", "solver", f"error of the mode weights at {along_budgets} calls",
            "sliced Wasserstein distance", "coverage of 50 %", "of 90 %", "lost, %",
            "calls, derivatives",
        ],
        "rows": body,
    }  # fmt: skip


def picture(rows: list[dict]) -> None:
    """Sliced Wasserstein distance over that of two exact sets, solvers against dimensions."""
    columns = sorted({(row["dim"], row["budget"]) for row in rows if row["budget"]})
    values = np.full((len(SOLVERS), len(columns)), np.nan)
    for i, solver in enumerate(SOLVERS):
        for j, (dim, budget) in enumerate(columns):
            mine = of(rows, dim=dim, solver=solver, budget=budget)
            same = {row["operator"] for row in mine}
            exact = [r for r in of(rows, dim=dim, solver=EXACT_DRAWS) if r["operator"] in same]
            if mine and exact:
                name = "sliced_wasserstein"
                values[i, j] = mean_of(mine, name) / mean_of(exact, name)
    figure = plotting.heat_map(
        values,
        list(SOLVERS),
        [f"{dim}-D, {budget}" for dim, budget in columns],
        "sliced Wasserstein distance / that of exact sets",
        limits=(1.0, 20.0),
        log_scale=True,
    )
    plotting.save(figure, RESULTS / "inverse_problems.png")


@dataclass(frozen=True)
class Config:
    """How much to run."""

    dims: tuple[int, ...] = tuple(SHAPES)
    solvers: tuple[str, ...] = tuple(SOLVERS)
    budgets: tuple[int, ...] = (20, 50, 100)
    """Network calls of every solver, at most."""
    seed: int = 0
    record: bool = False
    """Write the record of the site as well."""
    status: str = ""
    """What the record says of its origin: commit and machine."""

    def check(self) -> None:
        for dim in self.dims:
            if dim not in SHAPES:
                raise ConfigError(f"dims={dim} is not among {[*SHAPES]}")
        for name in self.solvers:
            check_choice("solvers", name, SOLVERS)
        for budget in self.budgets:
            check_range("budgets", budget, 20, integer=True)


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    config.check()
    training.configure_backend(1)
    facts, before = machine(), read("inverse_problems")
    if before and before.get("seed") != config.seed:
        raise ConfigError(f"kept results are of seed {before.get('seed')}: move them away")
    rows = before.get("rows", [])

    def add(found: list[dict]) -> None:
        rows.extend(found)
        order = [EXACT_DRAWS, *SOLVERS]
        rows.sort(key=lambda r: (r["dim"], order.index(r["solver"]), r["budget"]))
        write("inverse_problems", facts, {"seed": config.seed, "rows": rows})
        print(json.dumps(found[0]), flush=True)

    def missing(dim: int, solver: str, budget: int) -> bool:
        return not of(rows, dim=dim, solver=solver, budget=budget)

    for dim in config.dims:
        cells = [
            cell
            for cell in itertools.product(config.solvers, config.budgets)
            if missing(dim, *cell)
        ]
        first = missing(dim, EXACT_DRAWS, 0)
        if not cells and not first:
            continue
        prior = prior_of(dim)
        problems = problems_of(prior, [*operators_of(dim).values()])
        if first:
            add(floor(dim, problems))
        for solver, budget in cells:
            add(measure(solver, dim, budget, prior, problems, config.seed))
    result_path("inverse_problems").with_suffix(".md").write_text(table(rows) + "\n")
    picture(rows)
    if config.record:
        write_record(record(rows, config.budgets, config.status))


if __name__ == "__main__":
    training.run_main(main)
