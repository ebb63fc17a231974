"""EM for a Gaussian mixture beside scikit-learn's: same points, same start, measured in turns.

    python -m benchmarks.em_peers

Time per iteration is that of a whole fit over its iterations; beginning and ending are a few
percent of it on both sides. Pairs share the machine's state of the moment; the ratio is the median
over pairs, and `ratio_of_fastest` that of the fastest fit of each side.
"""

import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from benchmarks.measuring import machine, write
from gen_jax import training
from gen_jax.classical import kmeans
from gen_jax.classical.mixture import Mixture, fit_em, log_prob
from gen_jax.errors import check_range

TYPES = {"float64": np.float64, "float32": np.float32}


@dataclass(frozen=True)
class Config:
    """What is fitted, and how often it is measured."""

    points: int = 100_000
    dim: int = 10
    components: int = 10
    iterations: int = 30
    """Of each fit."""
    pairs: int = 7

    def check(self) -> None:
        """Raise ConfigError for sizes that cannot be measured."""
        check_range("components", self.components, 1, self.points, integer=True)
        check_range("dim", self.dim, 1, integer=True)
        check_range("iterations", self.iterations, 1, integer=True)
        check_range("pairs", self.pairs, 1, integer=True)


def overlapping_points(config: Config) -> np.ndarray:
    """Draws [N, D] of a mixture whose components overlap, so that EM has something to do.

    Of unit variance, where our relative epsilon is scikit-learn's `reg_covar`.
    """
    random = np.random.default_rng(0)
    k, d = config.components, config.dim
    means = 2 * random.normal(size=(k, d))
    roots = np.eye(d) + 0.4 * random.normal(size=(k, d, d))
    component = random.integers(0, k, config.points)
    noise = random.normal(size=(config.points, d))
    points = means[component] + np.einsum("nij,nj->ni", roots[component], noise)
    return points / points.std(0)


def fit_theirs(x: np.ndarray, start: Mixture, iterations: int) -> GaussianMixture:
    """scikit-learn's EM from a start, without stopping early."""
    model = GaussianMixture(
        len(start.weights),
        weights_init=np.asarray(start.weights),
        means_init=np.asarray(start.means),
        precisions_init=np.linalg.inv(np.asarray(start.covariances)),
        max_iter=iterations,
        tol=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x)


def fit_ours(x: jax.Array, start: Mixture, iterations: int) -> Mixture:
    """The same by `fit_em`."""
    options = {"max_iterations": iterations, "tolerance": 0.0, "start": start}
    return jax.block_until_ready(
        fit_em(jax.random.key(0), x, len(start.weights), **options)
    ).mixture


def seconds(run: Callable[[int], Any], iterations: int) -> float:
    """Wall time of one iteration of `run(iterations)`."""
    begun = time.perf_counter()
    run(iterations)
    return (time.perf_counter() - begun) / iterations


def compare(dtype: type, points: np.ndarray, config: Config) -> dict[str, Any]:
    """Times, their ratio and the log-likelihoods of both sides; scikit-learn's runs in float64."""
    x = jnp.asarray(points, dtype)
    start = kmeans.start_mixture(jax.random.key(1), x, config.components, "full", 1e-6)
    wide = Mixture(*(np.asarray(a, np.float64) for a in start))
    wide = wide._replace(weights=wide.weights / wide.weights.sum())
    ours, theirs = (lambda i: fit_ours(x, start, i)), (lambda i: fit_theirs(points, wide, i))
    first = config.iterations * seconds(ours, config.iterations)
    found = Mixture(*(jnp.asarray(np.asarray(a, np.float64)) for a in ours(config.iterations)))
    score = float(log_prob(found, jnp.asarray(points)).mean())
    peer = float(theirs(config.iterations).score(points))
    pairs = [
        (seconds(ours, config.iterations), seconds(theirs, config.iterations))
        for _ in range(config.pairs)
    ]
    fastest = [min(side) for side in zip(*pairs)]
    ratios = [slow / fast for fast, slow in pairs]
    return {
        "milliseconds_gen_jax": round(1e3 * statistics.median(fast for fast, _ in pairs), 2),
        "milliseconds_scikit_learn": round(1e3 * statistics.median(slow for _, slow in pairs), 2),
        "ratio": round(statistics.median(ratios), 2),
        "ratio_of_fastest": round(fastest[1] / fastest[0], 2),
        "ratio_of_each_pair": [round(ratio, 2) for ratio in sorted(ratios)],
        "log_likelihood_gen_jax": score,
        "log_likelihood_scikit_learn": peer,
        "difference": score - peer,
        "seconds_of_first_fit_with_compilation": round(first, 2),
    }


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    config.check()
    training.configure_backend(1)
    facts = machine("scikit-learn")
    with jax.enable_x64(True):
        points = overlapping_points(config)
        rows = {name: compare(dtype, points, config) for name, dtype in TYPES.items()}
    for name, row in rows.items():
        print(
            f"{name}: {row['milliseconds_gen_jax']} ms per iteration, scikit-learn "
            f"{row['milliseconds_scikit_learn']} ms, ratio {row['ratio']}, "
            f"log-likelihood differs by {row['difference']:.1e} nats per point"
        )
    write("em_peers", facts, {"configuration": asdict(config), "gen_jax in": rows})


if __name__ == "__main__":
    training.run_main(main)
