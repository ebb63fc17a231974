"""Animation of TemperFlow on the line: the flow's density and its map as b rises to 1.

    python -m experiments.shared.tempering_animation --output tempering.gif

The target is a mixture of two narrow Gaussians far apart; p_b has the same modes, better connected.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from experiments.shared.command_line import read_options
from experiments.shared.option_types import Count, Seed, Steps
from gen_jax import plotting, training
from gen_jax.errors import ConfigError
from gen_jax.flows import spline_flow
from gen_jax.ranges import check_ranges
from gen_jax.transport import Schedule, anneal, bijector, density, temperflow
from gen_jax.types import Array

X, Z = jnp.linspace(-6, 6, 600), jnp.linspace(-3, 3, 300)


@dataclass(frozen=True)
class Settings:
    """Where to write, and how long to train."""

    output: str = "tempering.gif"
    stage_steps: Steps = 100
    batch_size: Count = 500
    seed: Seed = 0


def log_density(x: Array) -> Array:
    """log of 0.7 N(-3, 0.4^2) + 0.3 N(3, 0.4^2)."""
    parts = jnp.logaddexp(
        jnp.log(0.7) + norm.logpdf(x, -3, 0.4), jnp.log(0.3) + norm.logpdf(x, 3, 0.4)
    )
    return parts[:, 0]


def tempered(beta: float) -> np.ndarray:
    """The density p_b on X, normalised there."""
    values = np.asarray(jnp.exp(beta * log_density(X[:, None])))
    return values / np.trapezoid(values, X)


def main() -> None:
    config = read_options(Settings, __doc__)
    check_ranges(config)
    output = Path(config.output)
    if output.suffix != ".gif":
        raise ConfigError(f"output={config.output!r} must end in .gif")
    training.check_writable("output", output)
    schedule = Schedule(
        first_beta=0.02,
        kl_factor=0.6,
        first_steps=2 * config.stage_steps,
        stage_steps=config.stage_steps,
        batch_size=config.batch_size,
        learning_rate=3e-3,
    )
    model = temperflow(log_density, 1, spline_flow(bins=24, hidden=(8,)), schedule)

    @jax.jit
    def look(state):
        flow = bijector(model, state)
        return jnp.exp(density.log_density(flow, X[:, None])), flow.forward(Z[:, None])[0]

    rows = []

    def watch(step, state, metrics):
        beta = float(metrics["beta"][-1])
        q, image = (np.asarray(a) for a in look(state))
        rows.append((beta, q, tempered(beta), image[:, 0]))

    anneal(jax.random.key(config.seed), model, chunk=max(config.stage_steps // 4, 1), watch=watch)
    betas, q, p, images = (np.stack(column) for column in zip(*rows))
    left, right = "density", "map from the base to x"
    panels = {left: {"target": tempered(1.0), "p_b": p, "flow": q}, right: {"T(z)": images}}
    captions = [f"b = {beta:.3f}" for beta in betas]
    path = plotting.line_animation(output, {left: X, right: Z}, panels, captions)
    print(f"{len(betas)} moments, b from {betas[0]:.3g} to {betas[-1]:.3g}: {path}")


if __name__ == "__main__":
    training.run_main(main)
