"""The sampler arena: every sampler on every target, at equal evaluations and at equal time.

    python -m benchmarks.arena                                # wants a quiet machine
    python -m benchmarks.arena --targets ring grid --seconds 5

Chains: 100 from N(0, I), 1,000 states kept of each, the first sixth of the steps left out, with
the step sizes of qiu2024's baselines (0.2; 0.1 for the copulas) and with tuned ones (dual averaging
over 500 steps, which are not counted). An evaluation is one log-density of one chain, with its
gradient where the kernel uses it. Annealed importance sampling carries 10,000 points from
N(0, 9 I) by Hamiltonian moves. Flows are trained first: their rows have the seconds and evaluations
that this took, beside those of drawing 10,000 points, as they are and refined by rejection.
Compilation is left out throughout.

Printed and, target by target, written to `benchmarks/results/arena_DEVICE.json`: a run replaces the
rows that it measures and keeps the others of the same settings. Beside it lie the whole table,
`arena_DEVICE.md` (total variation of the mode weights, sliced Wasserstein distance to exact samples
less that between two exact sets, effective sample size per second of the slowest coordinate, error
of log Z), and a heat map of the distances.
"""

import functools
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.measuring import RESULTS, machine, read, result_path, write
from gen_jax import flows, mcmc, plotting, training, transport
from gen_jax.errors import ConfigError, check_choice, check_range
from gen_jax.metrics import compare_with_exact
from gen_jax.sampling import Target, importance, make_target
from gen_jax.types import Array, Estimate, Key

TARGETS: dict[str, tuple[str, dict[str, Any]]] = {
    "ring": ("ring", {}),
    "grid": ("grid", {}),
    "cross": ("cross", {}),
    "funnel": ("funnel", {}),
    "banana": ("banana", {}),
    "many_well": ("many_well", {"dim": 16}),
    "clayton 8": ("clayton", {"dim": 8}),
    "clayton 16": ("clayton", {"dim": 16}),
    "logistic_regression": ("logistic_regression", {}),
}
CHAINS, KEPT, ADAPTATION, POINTS, LEAPFROGS = 100, 1000, 500, 10_000, 10
ANNEALED, REVERSE_KL, TEMPERFLOW = "annealed importance", "flow by reverse KL", "TemperFlow"
MARGIN = 10.0
LADDER = np.geomspace(1, 0.1, 5)
FLOW_UNIT = {"banana": 10.0}
"""Lengths that flows take as 1, where 1 itself is far too short; chains have their step sizes."""
IN_THE_PLANE = transport.Schedule(batch_size=1000, first_steps=300, stage_steps=300)
ELSEWHERE = transport.Schedule(
    kl_factor=0.7,
    batch_size=1000,
    stage_steps=600,
    polish="forward_kl",
    polish_rounds=12,
    polish_steps=300,
    polish_rate=1e-3,
)
ONE_MODE = replace(ELSEWHERE, kl_factor=0.3, stage_steps=300)
"""Longer steps in b: there are no modes to lose on the way."""
SCHEDULES = {"logistic_regression": ONE_MODE}
DIRECT = transport.Schedule(first_beta=1.0, batch_size=1000, first_steps=3000)
"""Reverse KL alone, without a curve."""


@dataclass(frozen=True)
class Config:
    """How much to run."""

    targets: tuple[str, ...] = tuple(TARGETS)
    samplers: tuple[str, ...] = ()
    """Titles of the table's rows; all of them if not given."""
    evaluations: int = 5_000_000
    """For every chain sampler and for annealed importance sampling."""
    seconds: float = 10.0
    """For the same samplers once more."""
    seed: int = 0

    def check(self) -> None:
        for name in self.targets:
            check_choice("targets", name, TARGETS)
        for name in self.samplers:
            check_choice("samplers", name, [*chains(0.2), ANNEALED, REVERSE_KL, TEMPERFLOW])
        check_range("evaluations", self.evaluations, 1_000_000, integer=True)
        check_range("seconds", self.seconds, 0, open_low=True)


class Chain(NamedTuple):
    """A kernel of a log-density and a step size; its step size, or the acceptance to tune it to
    (that of another kernel where it accepts everything itself)."""

    make: Callable[[Callable, Any], mcmc.Kernel]
    step_size: float | None = None
    acceptance: float | None = None
    tuned_by: Callable[[Callable, Any], mcmc.Kernel] | None = None


def tempered(log_density: Callable, step_size: Any) -> mcmc.Kernel:
    inner = lambda log_density: mcmc.random_walk(log_density, step_size)
    return mcmc.parallel_tempering(log_density, LADDER, inner)


hmc_5 = lambda log_density, step_size: mcmc.hmc(log_density, step_size, 5)
hmc_10 = lambda log_density, step_size: mcmc.hmc(log_density, step_size, LEAPFROGS)


def chains(published_step: float) -> dict[str, Chain]:
    """By title; acceptances are the usual ones, lower where a chain has to jump between modes."""
    return {
        "random walk, published": Chain(mcmc.random_walk, published_step),
        "random walk, tuned": Chain(mcmc.random_walk, acceptance=0.15),
        "HMC, published": Chain(hmc_5, published_step),
        "HMC, tuned": Chain(hmc_10, acceptance=mcmc.TARGET_ACCEPTANCE["hmc"]),
        "MALA, tuned": Chain(mcmc.mala, acceptance=mcmc.TARGET_ACCEPTANCE["mala"]),
        "unadjusted Langevin, MALA's step": Chain(
            mcmc.langevin, acceptance=mcmc.TARGET_ACCEPTANCE["mala"], tuned_by=mcmc.mala
        ),
        "parallel tempering, published": Chain(tempered, published_step),
        "parallel tempering, tuned": Chain(tempered, acceptance=0.25),
    }


class Outcome(NamedTuple):
    """Samples [N, D] and what they cost."""

    samples: np.ndarray
    seconds: float
    evaluations: int
    ess: float | None = None
    log_normalizer: Any = None


def timed(run: Callable) -> tuple[Any, float]:
    begun = time.perf_counter()
    result = jax.block_until_ready(run())
    return result, time.perf_counter() - begun


def run_chains(
    key: Key[Array, ""], target: Target, chain: Chain, config: Config
) -> dict[str, Outcome]:
    """At equal evaluations and at equal time, by the same compiled program."""
    key_start, key_adapt, key_run = jax.random.split(key, 3)
    x = jax.random.normal(key_start, (CHAINS, target.dim))
    step_size: Any = chain.step_size
    if chain.acceptance is not None:
        make = functools.partial(chain.tuned_by or chain.make, target.log_density)
        adapted = mcmc.adapt_step_size(
            key_adapt, make, x, ADAPTATION, target=chain.acceptance, initial=0.2
        )
        step_size, x = float(adapted.step_size), adapted.x
    kernel = chain.make(target.log_density, step_size)

    state = kernel.init(x)

    def draw(steps):
        burn_in = steps // 6
        thin = max((steps - burn_in) // KEPT, 1)
        compiled = mcmc.collect.lower(key_run, kernel, state, KEPT, burn_in, thin).compile()
        (samples, _), seconds = timed(lambda: compiled(key_run, state, burn_in))
        steps = burn_in + thin * KEPT
        ess = float(jnp.min(mcmc.effective_sample_size(samples)))
        flat = np.asarray(samples).reshape(-1, target.dim)
        return Outcome(flat, seconds, steps * CHAINS * kernel.evaluations, ess), steps

    fixed, steps = draw(config.evaluations // (CHAINS * kernel.evaluations))
    return {"evaluations": fixed, "time": draw(int(steps / fixed.seconds * config.seconds))[0]}


def run_annealing(key: Key[Array, ""], target: Target, config: Config) -> dict[str, Outcome]:
    """Annealed importance sampling from N(0, 9 I), resampled by its weights."""
    key_start, key_adapt, key_run, key_pick = jax.random.split(key, 4)
    start_density = lambda x: jnp.sum(jax.scipy.stats.norm.logpdf(x, 0, 3), 1)
    x = 3 * jax.random.normal(key_start, (POINTS, target.dim))
    make = functools.partial(hmc_5, target.log_density)
    adapted = mcmc.adapt_step_size(key_adapt, make, x[:CHAINS], ADAPTATION, target=0.8, initial=0.2)
    kernel = lambda f: mcmc.hmc(f, float(adapted.step_size), 5)
    per_level = POINTS * (5 + 3)  # the move, its start, both ends of the weight

    def anneal(levels):
        b = np.linspace(0, 1, levels + 1)
        weigh = jax.jit(
            lambda key, x: mcmc.annealed_importance(
                key, start_density, target.log_density, x, b, kernel
            )
        )
        run = lambda: weigh(key_run, x)
        run()  # compiles
        result, seconds = timed(run)
        index = importance.resample(jax.random.uniform(key_pick), result.log_weights, POINTS)
        estimate = Estimate(*map(float, result.log_normalizer))
        ess = float(result.effective_sample_size)
        samples = np.asarray(result.x[index])
        return Outcome(samples, seconds, levels * per_level, ess, estimate)

    fixed = anneal(config.evaluations // per_level)
    levels = int(config.seconds / fixed.seconds * config.evaluations // per_level)
    return {"evaluations": fixed, "time": anneal(max(levels, 2))}


def run_flow(key: Key[Array, ""], name: str, target: Target, title: str) -> dict[str, Outcome]:
    """Train by reverse KL or along the tempering curve, then draw, without and with rejection; all
    is counted."""
    plane = target.dim == 2
    width, half_width = (64, 5.0) if plane else (128, 6.0)
    layer = flows.spline_flow(hidden=(width, width), half_width=half_width)
    curve = SCHEDULES.get(name, IN_THE_PLANE if plane else ELSEWHERE)
    schedule = curve if title == TEMPERFLOW else DIRECT
    scale = FLOW_UNIT.get(name, 1.0)
    volume = target.dim * np.log(scale)
    rescaled = lambda z: target.log_density(scale * z) + volume
    model = transport.temperflow(rescaled, target.dim, layer, schedule)
    clock: list[tuple[int, float]] = []

    def watch(step, state, metrics):
        clock.append((step, time.perf_counter()))
        if step % 2000 == 0:
            print(f"{name}: step {step}, b = {float(state.stage.beta):.4f}", file=sys.stderr)

    key_train, key_draw = jax.random.split(key)
    state = transport.anneal(key_train, model, watch=watch)
    steps = clock[-1][0]  # the first chunk compiles, and is taken to last as long as the others
    training_seconds = (clock[-1][1] - clock[0][1]) * steps / (steps - clock[0][0])

    @functools.partial(jax.jit, static_argnames="refined")
    def draw(key, refined):
        z = model.sample(key, state, POINTS, refined=refined, margin=MARGIN)
        return scale * z

    @jax.jit
    def log_z(key):
        z = model.sample(key, state, POINTS)
        return importance.log_normalizer(rescaled(z) - model.log_prob(key, state, z))

    estimate = Estimate(*map(float, log_z(key_draw)))
    evaluations, found = steps * schedule.batch_size, {}
    for row_title, refined in {title: False, f"{title}, refined": True}.items():
        timed(lambda: draw(key, refined))  # noqa: B023
        x, seconds = timed(lambda: draw(key_draw, refined))  # noqa: B023
        found[row_title] = Outcome(
            np.asarray(x), training_seconds + seconds, evaluations, POINTS, estimate
        )
    return found


def row(key, name: str, sampler: str, budget: str, target: Target, outcome: Outcome) -> dict:
    """One line of the table, as JSON."""
    numbers = compare_with_exact(key, target, outcome.samples, outcome.log_normalizer)
    excess = None
    if "sliced_wasserstein" in numbers:
        excess = numbers["sliced_wasserstein"] - numbers["sliced_wasserstein_exact"]
    ess = outcome.ess and outcome.ess / outcome.seconds
    cost = {"seconds": outcome.seconds, "evaluations": outcome.evaluations}
    head = {"target": name, "sampler": sampler, "budget": budget, **cost}
    return {**head, "excess": excess, "ess_per_second": ess, **numbers}


def measure(config: Config, name: str) -> list[dict]:
    """The rows of a target; printed as they come."""
    constructor, options = TARGETS[name]
    target = make_target(constructor, **options)
    key = jax.random.fold_in(jax.random.key(config.seed), list(TARGETS).index(name))
    published = 0.1 if constructor == "clayton" else 0.2
    contestants: dict[str, Callable] = {
        title: functools.partial(run_chains, key, target, chain, config)
        for title, chain in chains(published).items()
    }
    contestants[ANNEALED] = lambda: run_annealing(key, target, config)
    wanted = config.samplers or (*contestants, REVERSE_KL, TEMPERFLOW)
    rows = []

    def add(title, budget, outcome):
        rows.append(row(key, name, title, budget, target, outcome))
        print(json.dumps(rows[-1]), flush=True)

    for title in (title for title in contestants if title in wanted):
        for budget, outcome in contestants[title]().items():
            add(title, budget, outcome)
    for flow in (title for title in (REVERSE_KL, TEMPERFLOW) if title in wanted):
        for title, outcome in run_flow(key, name, target, flow).items():
            add(title, "its own", outcome)
    return rows


def cell(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}g}"


def table(rows: list[dict]) -> str:
    """Markdown: one line per row."""
    head = "| target | sampler | budget | s | evaluations | modes | TV | excess | ESS / s | log Z |"
    lines = [head, "|" + " --- |" * 10]
    for r in rows:
        modes = f"{r['modes_covered']:.0f}/{r['modes']:.0f}" if "modes" in r else ""
        error = r.get("log_normalizer_error")
        log_z = "" if error is None else f"{error:+.3f} ± {r['log_normalizer_standard_error']:.3f}"
        parts = (
            *(r["target"], r["sampler"], r["budget"], f"{r['seconds']:.1f}"),
            *(f"{r['evaluations']:.1e}", modes, cell(r.get("mode_weight_tv"))),
            *(cell(r["excess"]), cell(r["ess_per_second"]), log_z),
        )
        lines.append("| " + " | ".join(parts) + " |")
    return "\n".join(lines)


def picture(rows: list[dict]) -> None:
    """Excess distance at equal time (flows: at their own), targets against samplers."""
    shown = [r for r in rows if r["budget"] != "evaluations" and r["excess"] is not None]
    targets = list(dict.fromkeys(r["target"] for r in shown))
    samplers = list(dict.fromkeys(r["sampler"] for r in shown))
    values = np.full((len(samplers), len(targets)), np.nan)
    for r in shown:
        values[samplers.index(r["sampler"]), targets.index(r["target"])] = r["excess"]
    figure = plotting.heat_map(
        values,
        samplers,
        targets,
        "sliced Wasserstein distance above that of exact sets",
        limits=(0.01, 3.0),
        log_scale=True,
    )
    plotting.save(figure, RESULTS / "arena.png")


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    config.check()
    training.configure_backend(1)
    facts, how = machine(), {n: getattr(config, n) for n in ("evaluations", "seconds", "seed")}
    before = read("arena")
    if before and before.get("how") != how:
        raise ConfigError(f"kept results are of {before.get('how')}, not {how}: move them away")
    rows = before.get("rows", [])
    for name in config.targets:
        found = measure(config, name)
        new = {(r["target"], r["sampler"]) for r in found}
        rows = [r for r in rows if (r["target"], r["sampler"]) not in new] + found
        rows.sort(key=lambda r: list(TARGETS).index(r["target"]))
        write("arena", facts, {"how": how, "rows": rows})
    picture(rows)
    result_path("arena").with_suffix(".md").write_text(table(rows) + "\n")
    print(table(rows))


if __name__ == "__main__":
    training.run_main(main)
