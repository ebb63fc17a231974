"""HMC and random walk beside blackjax: same target, chains, steps and step sizes, in one run.

    python -m pip install --target /tmp/peers blackjax
    PYTHONPATH=/tmp/peers python -m benchmarks.mcmc_peers

The target is a Gaussian with correlations 0.5^|i-j|, written for one chain and vmapped for both:
with its precision matrix ("dense", where the time of small matrix products counts), and as a
chain of conditionals ("chain", a few operations per coordinate).
Each pair of runs gives one ratio of times (theirs over ours); the table has the median of the pairs
and their quartiles. Effective samples per evaluation of the density (with its gradient, for HMC)
are means over the runs with their standard errors, by the same estimator.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.measuring import machine, write
from gen_jax import mcmc

CHAINS, STEPS = 256, 1000
LEAPFROG_STEPS = 8
STEP_SIZES = {("hmc", 2): 0.5, ("hmc", 64): 0.3, ("random_walk", 2): 1.2, ("random_walk", 64): 0.2}


def density(form: str, dim: int) -> Callable:
    """`x [dim] -> []`."""
    if form == "chain":
        return lambda x: -0.5 * (x[0] ** 2 + jnp.sum((x[1:] - 0.5 * x[:-1]) ** 2) / 0.75)
    index = np.arange(dim)
    precision = np.linalg.inv(0.5 ** np.abs(index[:, None] - index)).astype(np.float32)
    return lambda x: -0.5 * x @ (precision @ x)


def ours(name: str, form: str, dim: int) -> Callable:
    """`(key, x [B, dim]) -> samples [T, B, dim]`."""
    step_size = STEP_SIZES[name, dim]
    options = {"num_steps": LEAPFROG_STEPS, "jitter": 0.0} if name == "hmc" else {}
    kernel = mcmc.KERNELS[name](jax.vmap(density(form, dim)), step_size, **options)
    return jax.jit(lambda key, x: mcmc.run(key, kernel, x, STEPS)[0])


def theirs(name: str, form: str, dim: int) -> Callable:
    """The same by blackjax, as its documentation runs many chains: vmap inside, scan outside."""
    import blackjax

    step_size, scale = STEP_SIZES[name, dim], jnp.ones(dim)
    if name == "hmc":
        algorithm = blackjax.hmc(density(form, dim), step_size, scale, LEAPFROG_STEPS)
    else:
        proposal = blackjax.mcmc.random_walk.normal(step_size * scale)
        algorithm = blackjax.additive_step_random_walk(density(form, dim), proposal)

    @jax.jit
    def run(key, x):
        def body(state, key):
            keys = jax.random.split(key, len(x))
            state, _ = jax.vmap(algorithm.step)(keys, state)
            return state, state.position

        start = jax.vmap(algorithm.init)(x)
        return jax.lax.scan(body, start, jax.random.split(key, STEPS))[1]

    return run


def timed(run: Callable, key: Any, x: Any) -> tuple[float, Any]:
    begun = time.perf_counter()
    samples = jax.block_until_ready(run(key, x))
    return time.perf_counter() - begun, samples


def compare(name: str, form: str, dim: int, pairs: int) -> dict[str, Any]:
    """One row: ratio of times and effective samples per evaluation."""
    both = {"gen_jax": ours(name, form, dim), "blackjax": theirs(name, form, dim)}
    root = np.linalg.cholesky(0.5 ** np.abs(np.arange(dim)[:, None] - np.arange(dim)))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(CHAINS, dim)) @ root.T, jnp.float32)
    evaluations = CHAINS * STEPS * (LEAPFROG_STEPS if name == "hmc" else 1)
    seconds: dict[str, list] = {side: [] for side in both}
    sizes: dict[str, list] = {side: [] for side in both}
    for pair in range(pairs + 1):
        for side in sorted(both, reverse=bool(pair % 2)):
            spent, samples = timed(both[side], jax.random.key(pair), x)
            if pair:  # the first compiles
                seconds[side].append(spent)
                effective = jnp.mean(mcmc.effective_sample_size(samples))
                sizes[side].append(float(effective) / evaluations)
    ratios = np.array(seconds["blackjax"]) / np.array(seconds["gen_jax"])
    error = lambda values: float(np.std(values, ddof=1) / np.sqrt(len(values)))
    row: dict[str, Any] = {
        "kernel": name,
        "density": form,
        "dim": dim,
        "time_ratio": round(float(np.median(ratios)), 3),
        "time_ratio_quartiles": np.quantile(ratios, [0.25, 0.75]).round(3).tolist(),
    }
    for side in both:
        row[f"{side}_seconds"] = round(float(np.median(seconds[side])), 4)
        row[f"{side}_effective_per_evaluation"] = float(f"{np.mean(sizes[side]):.5g}")
        row[f"{side}_effective_error"] = float(f"{error(sizes[side]):.2g}")
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    pairs = parser.parse_args().pairs
    facts = machine("blackjax")
    forms = ("dense", "chain")
    rows = []
    for name, dim in STEP_SIZES:
        for form in forms:
            rows.append(compare(name, form, dim, pairs))
            print(json.dumps(rows[-1]), flush=True)
    sizes = {"chains": CHAINS, "steps": STEPS, "pairs": pairs}
    write("mcmc_peers", facts, {"rows": rows, **sizes})


if __name__ == "__main__":
    main()
