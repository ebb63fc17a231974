"""The error of log p by the probability-flow ODE against its number of steps.

    python -m benchmarks.likelihood_steps                              # exact denoisers
    python -m benchmarks.likelihood_steps --runs runs/diffusion-digits   # and trained networks

For mixtures of Gaussians the truth is the density in float64, of data with the noise at which the
integration starts: in the plane at samples, and in 16 dimensions at three times samples, where the
equation is stiff. For a run it is the same estimate, with the same probes, in TRUTH_STEPS steps;
the error is that of the mean over images, beside the standard error of such a mean. Writes
`benchmarks/results/likelihood_steps_BACKEND.json`, and the record of the table (then
`python docs/results/render.py`). Rows of what is not measured are kept.
"""

import itertools
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from scipy.stats import multivariate_normal

from benchmarks import solvers
from benchmarks.measuring import machine, read, write, write_record
from experiments.shared import likelihoods
from experiments.shared.option_types import within
from experiments.shared.runner import rebuild
from gen_jax import data, diffusion, training
from gen_jax.calls import counted, network_call
from gen_jax.diffusion.grids import SIGMA_MIN
from gen_jax.paths import PATHS

SHOWN = ("linear", "vp", "ve", "edm")
STEPS = (4, 8, 16, 32, 64)
TOLERANCES = (1e-4, 1e-5, 1e-6)
TRUTH_STEPS = 256
NAME = "likelihood_steps"


class Mixture(NamedTuple):
    """Gaussians [K], [K, D], [K, D, D], and points [B, D]."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    points: np.ndarray


def mixtures() -> dict[str, Mixture]:
    """Three modes in the plane at samples, and four in 16 dimensions at three times samples; both
    of mean 0."""
    rng = np.random.default_rng(0)

    def mixture(weights, means, covariances, scale: float) -> Mixture:
        means = means - weights @ means
        modes = rng.choice(len(weights), 64, p=weights)
        points = [rng.multivariate_normal(means[k], covariances[k]) for k in modes]
        return Mixture(weights, means, covariances, scale * np.stack(points))

    three = solvers.mixtures(1)["three modes"].parameters
    plane = [np.asarray(part, np.float64)[:3] for part in three]
    roots = rng.normal(size=(4, 16, 16)) / 4
    wide = roots @ roots.swapaxes(1, 2) + 0.05 * np.eye(16)
    return {
        "three modes in the plane": mixture(plane[0] / plane[0].sum(), *plane[1:], 1.0),
        "16 dimensions, far from the data": mixture(
            np.full(4, 0.25), 2 * rng.normal(size=(4, 16)), wide, 3.0
        ),
    }


def density(mixture: Mixture, level: float) -> np.ndarray:
    """log p [B] of the points with noise of the level, in float64."""
    noise = level**2 * np.eye(mixture.means.shape[1])
    modes = zip(mixture.weights, mixture.means, mixture.covariances)
    terms = [
        np.log(weight) + multivariate_normal.logpdf(mixture.points, mean, covariance + noise)
        for weight, mean, covariance in modes
    ]
    return np.logaddexp.reduce(terms)


def rounded(value: float) -> float:
    """To two digits."""
    return float(f"{value:.2g}")


def mixture_rows(name: str, mixture: Mixture, path_name: str) -> list[dict[str, Any]]:
    """Mean and largest error in nats by rk4 in STEPS, and by the adaptive solver."""
    path = PATHS[path_name]()
    weights, means, covariances = (jnp.asarray(a, jnp.float32) for a in mixture[:3])
    denoise = network_call(diffusion.mixture_denoiser(weights, means, covariances, path))
    x = jnp.asarray(mixture.points, jnp.float32)
    start = float(path.sigma(jnp.array(0.0)) / path.alpha(jnp.array(0.0))) or SIGMA_MIN
    truth = density(mixture, start)

    def measured(way: str, **options: Any) -> dict[str, Any]:
        solve = lambda x: diffusion.ode_log_prob(jax.random.key(0), denoise, path, x, **options)
        found, calls = jax.jit(counted(solve))(x)
        error = np.abs(np.asarray(found, np.float64) - truth)
        return {
            "what": f"{name}, {path_name}",
            "way": way,
            "error": rounded(error.mean()),
            "worst": rounded(error.max()),
            "calls": int(calls),
        }

    fixed = [measured(f"{n} steps", num_steps=n) for n in STEPS]
    return fixed + [measured(f"tolerance {t:g}", tolerance=t) for t in TOLERANCES]


def run_rows(directory: str, num: int) -> list[dict[str, Any]]:
    """The same of a trained network on test images."""
    saved = rebuild(directory)
    x = data.examples(saved.spec.name, "test", num)["x"]
    log_prob = lambda steps: likelihoods.log_prob(saved, x, num_steps=steps)
    truth, rows = log_prob(TRUTH_STEPS), []
    spread = f"{truth.std(ddof=1) / np.sqrt(len(truth)):.2g}"
    what = f"{saved.name} on {saved.spec.name}, mean of {len(x)} (standard error {spread})"
    for steps in STEPS:
        gap = log_prob(steps) - truth
        error, worst = rounded(abs(gap.mean())), rounded(np.abs(gap).max())
        rows.append({"what": what, "way": f"{steps} steps", "error": error, "worst": worst})
    return rows


def cell(row: dict[str, Any]) -> str:
    """The error, the largest, and the network calls where they are not seen from the steps."""
    calls = f", {row['calls']} calls" if row["way"].startswith("tolerance") else ""
    return f"{row['error']:g} ({row['worst']:g}){calls}"


@dataclass(frozen=True)
class Config:
    """What to measure."""

    runs: tuple[str, ...] = ()
    """Directories of trained runs on images whose log p takes steps."""
    num: Annotated[int, *within(2, 10_000)] = 16
    """Test images of a run."""
    mixtures: bool = True
    """Measure the mixtures; otherwise their rows are kept, too."""


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    training.configure_backend(1)
    facts = machine()
    exact = itertools.product(mixtures().items(), SHOWN) if config.mixtures else ()
    rows = [row for (name, mixture), path in exact for row in mixture_rows(name, mixture, path)]
    for directory in config.runs:
        rows += run_rows(directory, config.num)
    rows = [row | {"commit": facts["commit"]} for row in rows]
    made = {row["what"] for row in rows}
    rows = [row for row in read(NAME).get("rows", []) if row["what"] not in made] + rows
    write(NAME, facts, {"rows": rows})
    ways = list(dict.fromkeys(row["way"] for row in rows))
    cells = {(row["what"], row["way"]): cell(row) for row in rows}
    whats = dict.fromkeys(row["what"] for row in rows)
    codes = ", ".join(sorted({row["commit"][:7] for row in rows}))
    write_record({
        "name": "likelihood-steps",
        "status": f"`python -m benchmarks.likelihood_steps`, code of {codes}.",
        "columns": ["log p of", *ways],
        "rows": [[what, *(cells.get((what, way), "") for way in ways)] for what in whats],
    })  # fmt: skip


if __name__ == "__main__":
    training.run_main(main)
