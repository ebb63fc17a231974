"""Inputs whose answers are exact: how far each library is from them, one row per test.

    python3 -m venv /tmp/peers
    /tmp/peers/bin/pip install flowjax blackjax diffusers zuko nflows
    python -m benchmarks.exact_inputs --peers /tmp/peers/lib/python3.11/site-packages

A library that is not installed has no column; a test that a library has nothing for, no cell. All
in float32 (the order of Heun in float64), with the options that the sources below show and the
defaults otherwise; flows have their first parameters with noise of deviation 0.1. The packages of
this environment are used where both have one.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.exact_peers import (
    BINS,
    BOX,
    LAYERS,
    PEERS,
    WIDTH,
    grid,
    inverse_error,
    noisy,
    normals,
)
from benchmarks.measuring import machine, write
from gen_jax import diffusion, flows, mcmc, metrics, paths
from gen_jax.paths import coefficients


def spline_slope() -> float:
    """Log-slopes of a rational-quadratic spline less those of autodiff, largest of 999 points."""
    raw = jax.random.normal(jax.random.key(0), (3 * BINS - 1,))
    x = jnp.linspace(-4.9, 4.9, 999)
    value = lambda x: flows.splines.rational_quadratic(x, raw, BOX)
    slopes = jax.vmap(jax.grad(lambda x: value(x)[0]))(x)
    return float(jnp.abs(jax.vmap(value)(x)[1] - jnp.log(slopes)).max())


def _flow() -> Any:
    masks = ["first_half" if i % 2 == 0 else "second_half" for i in range(LAYERS)]
    make = lambda mask: flows.coupling(flows.rational_quadratic(BINS), mask, (WIDTH, WIDTH))
    layer = flows.chain(*map(make, masks))
    return layer.bijector(noisy(layer.init(jax.random.key(0), 2)))


def flow_integral() -> float:
    """Integral of a spline flow's density over [-8, 8]^2, less 1."""
    x, area = grid()
    density = jax.jit(lambda x: jnp.exp(flows.density.log_density(_flow(), x)))
    return float(np.asarray(density(x), np.float64).sum() * area - 1)


def flow_inverse(scaled: bool) -> float:
    """The same flow forward and back, 10,000 points of N(0, 4)."""
    x, flow = 2 * jnp.asarray(normals(1, (10_000, 2))), _flow()
    y, log_det = flow.forward(x)
    return inverse_error(x, flow.inverse(y)[0], log_det, scaled)


def _spread(stepper: str, steps: int = 20) -> float:
    path = paths.ddpm(jnp.linspace(1e-4, 0.02, 1000))
    denoise = lambda x, t: _posterior_mean(path, x, t)
    made = diffusion.STEPPERS[stepper]()
    times = diffusion.GRIDS[made.grid](path, steps)
    # A linear sampler without noise multiplies its start, whose deviation is 1, by a number.
    x = jnp.asarray(normals(2, (10**6, 1))) if made.stochastic else jnp.ones((1, 1))
    found = diffusion.sample(jax.random.key(3), denoise, path, x, times, made)
    return float((jnp.abs(found[0, 0]) if len(found) == 1 else found.std()) - 1)


def _posterior_mean(path: Any, x: Any, t: Any) -> Any:
    """E[x0 | x_t] of N(0, 1)."""
    a, s = path.alpha(t), path.sigma(t)
    a, s = (jnp.reshape(v, jnp.shape(v) + (1,) * (x.ndim - jnp.ndim(v))) for v in (a, s))
    return a * x / (a**2 + s**2)


def chain_variance() -> float:
    """Variance of 10^6 chains of HMC on N(0, 1) started from exact draws, after 5 steps, less 1."""
    kernel = mcmc.KERNELS["hmc"](lambda x: -0.5 * jnp.sum(x**2, -1), 0.7, num_steps=3, jitter=0.0)
    x = jax.random.normal(jax.random.key(4), (10**6, 1))
    samples = jax.jit(lambda key, x: mcmc.run(key, kernel, x, 5)[0])(jax.random.key(5), x)
    return float(jnp.asarray(samples)[-1].var() - 1)


def order(errors: list[float]) -> float:
    """Slope of the error against the step, from twice as many steps."""
    return float(np.log2(errors[0] / errors[1]))


def heun_order() -> float:
    """Heun's order on a mixture at -1 and 1 of deviation 0.5, from 64 and 128 steps."""
    path = paths.edm(sigma_min=0.02, sigma_max=10.0)
    arguments = jnp.ones(2) / 2, jnp.array([[-1.0], [1.0]]), jnp.full((2, 1, 1), 0.25)
    with jax.enable_x64(True):
        denoise = diffusion.mixture_denoiser(*(jnp.asarray(a, float) for a in arguments), path)
        x = 10 * jnp.linspace(-1.5, 1.5, 7)[:, None]

        def run(steps):
            times = jnp.asarray(diffusion.GRIDS["karras"](path, steps), float)
            made = diffusion.STEPPERS["edm_heun"]()
            # To the last time above 0, so that the last step is Heun's too.
            return diffusion.sample(jax.random.key(0), denoise, path, x, times[:-1], made)

        exact = run(4096)
        return order([float(jnp.abs(run(n) - exact).max()) for n in (64, 128)])


def loss_minimum() -> float:
    """Loss of the exact noise prediction for N(0, 1), 10^6 draws at t = 1/2, over alpha^2, less 1.

    E |eps - E[eps | x]|^2 = alpha^2 / (alpha^2 + sigma^2), which is alpha^2 here.
    """
    path = paths.cosine()
    x0, eps = jax.random.normal(jax.random.key(6), (2, 10**6, 1))
    t = jnp.full(10**6, 0.5)
    c = coefficients(path, t)
    predict = lambda x, t: c.sigma[:, None] * x
    loss = diffusion.denoising_loss(predict, path, x0, eps, t, prediction="eps")[0]
    return float(np.asarray(loss, np.float64).mean() / float(c.alpha[0]) ** 2 - 1)


def guidance_batch(kind: str) -> float:
    """Samples that are guided one at a time less the same 32 in a batch, largest.

    To the mode at 1 of a mixture at -1 and 1 of deviation 0.5, with weight 3, in two dimensions;
    the batch has 32 others, whose start is ten times as far out.
    """
    path = paths.cosine()
    arguments = (
        jnp.ones(2) / 2,
        jnp.array([[-1.0] * 2, [1.0] * 2]),
        jnp.tile(jnp.eye(2) / 4, (2, 1, 1)),
    )
    both, one = (
        diffusion.mixture_denoiser(*(a[rows] for a in arguments), path)
        for rows in (slice(0, 2), slice(1, 2))
    )

    def log_likelihood(x, t):
        a, s = path.alpha(t), path.sigma(t)
        return jax.nn.log_sigmoid(2 * a * x.sum(-1) / (a**2 / 4 + s**2))

    guided = {
        "classifier_free": diffusion.classifier_free(one, both, 3.0),
        "classifier": diffusion.classifier(both, log_likelihood, path, 3.0),
    }[kind]
    made = diffusion.STEPPERS["ddim"]()
    times = diffusion.GRIDS[made.grid](path, 20)
    sample = lambda x: diffusion.sample(jax.random.key(7), guided, path, x, times, made)
    x = jnp.asarray(normals(7, (64, 2))).at[32:].multiply(10)
    alone = jnp.concatenate([sample(row[None]) for row in x[:32]])
    return float(jnp.abs(alone - sample(x)[:32]).max())


def frechet() -> float:
    """Squared Frechet distance of two commuting Gaussians in 64 dimensions, relative error."""
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(64, 64)))
    a, b = np.geomspace(1e-2, 10, 64), np.geomspace(5, 1e-3, 64)
    mean = rng.normal(size=64)
    found = metrics.frechet_distance(
        mean, basis * a**2 @ basis.T, np.zeros(64), basis * b**2 @ basis.T
    )
    return found / float(mean @ mean + ((a - b) ** 2).sum()) - 1


OURS: dict[str, Callable[[], float]] = {
    "spline_slope": spline_slope,
    "flow_integral": flow_integral,
    "flow_inverse": lambda: flow_inverse(False),
    "flow_inverse_scaled": lambda: flow_inverse(True),
    "spread_ddim": lambda: _spread("ddim"),
    "spread_ddpm": lambda: _spread("ddpm"),
    "spread_dpm_solver_pp": lambda: _spread("dpm_solver_pp"),
    "chain_variance": chain_variance,
    "heun_order": heun_order,
    "guidance_batch": lambda: guidance_batch("classifier_free"),
    "guidance_batch_classifier": lambda: guidance_batch("classifier"),
    "loss_minimum": loss_minimum,
    "frechet": frechet,
}
TITLES = {
    "spline_slope": "log-slope of a spline less autodiff's, largest",
    "flow_integral": "integral of a flow's density over [-8, 8]^2 by a grid of 0.02, less 1",
    "flow_inverse": "inverse after forward, largest error",
    "flow_inverse_scaled": "the same, times the determinant of the Jacobian where it is below 1",
    "spread_ddim": "spread of samples under the exact score of N(0, 1), 20 steps of DDIM, less 1",
    "spread_ddpm": "the same, 20 steps of DDPM, 10^6 draws (standard error 0.0007)",
    "spread_dpm_solver_pp": "the same, 20 steps of DPM-Solver++(2M)",
    "chain_variance": "variance of HMC from exact draws of N(0, 1), 10^6 chains (0.0014), less 1",
    "heun_order": "order of Heun on a mixture (2)",
    "guidance_batch": "classifier-free guidance of an example alone less in a batch, largest of 32",
    "guidance_batch_classifier": "the same, guidance by a classifier",
    "loss_minimum": "denoising loss of the exact score over its minimum, 10^6 draws (0.0014), - 1",
    "frechet": "Frechet distance of two Gaussians, relative error",
}


def installed(peers: str | None) -> dict[str, str]:
    """Version of every peer that can be imported; its folder comes after this environment's."""
    if peers is not None:
        sys.path.append(peers)
    found = {}
    for name in PEERS:
        try:
            importlib.import_module(name)
            found[name] = version(name)
        except ImportError as error:
            print(f"{name}: not used ({error})")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", help="folder of their packages")
    parser.add_argument("--record", help="file of a table for docs/results/records")
    parser.add_argument("--dry-run", action="store_true", help="write no result")
    options = parser.parse_args()
    facts, versions = machine(), installed(options.peers)
    rows: dict[str, dict[str, float]] = {}
    for test, ours in OURS.items():
        rows[test] = {"gen_jax": ours()}
        for name in versions:
            if test in PEERS[name]:
                rows[test][name] = float(PEERS[name][test]())
        print(json.dumps({test: rows[test]}), flush=True)
    if options.record:
        write_record(Path(options.record), rows, versions)
    if not options.dry_run:
        write("exact_inputs", {**facts, **versions}, {"tests": TITLES, "rows": rows})


def write_record(path: Path, rows: dict[str, dict[str, float]], versions: dict[str, str]) -> None:
    """The table as docs/results/render.py reads it."""
    names = ["gen_jax", *versions]
    cell = lambda row, name: f"{row[name]:.2g}" if name in row else ""
    record = {
        "kind": "table",
        "name": path.stem,
        "status": "`python -m benchmarks.exact_inputs`; versions in "
        "`benchmarks/results/exact_inputs_cpu.json`.",
        "columns": ["test", "gen_jax", *(f"{n} {v}" for n, v in versions.items())],
        "rows": [[TITLES[t], *(cell(row, n) for n in names)] for t, row in rows.items()],
    }
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
