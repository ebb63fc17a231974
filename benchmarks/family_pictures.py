"""Pictures of the family pages that show exact answers: no run is needed.

    python -m benchmarks.family_pictures                  # all, about a minute
    python -m benchmarks.family_pictures divergences mcmc
    python -m benchmarks.family_pictures --tokens runs/token_diffusion-binarized_digits

Writes docs/pictures/family_NAME.png. The last needs a run of black and white images.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from jax.scipy.optimize import minimize
from jax.scipy.stats import norm
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image

from benchmarks import inverse_cases
from experiments.shared.runner import rebuild
from gen_jax import (
    discrete_diffusion,
    divergences,
    energy,
    mcmc,
    nets,
    plotting,
    sampling,
    training,
)
from gen_jax.classical import mixture
from gen_jax.plotting import COLOURS, STYLE, save, window_around
from gen_jax.plotting.densities import Window, evaluate_on_grid
from gen_jax.plotting.style import DATA, bare, panels

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
LogDensity = Callable[[jax.Array], jax.Array]


def shade(axes: Axes, log_density: LogDensity, window: Window) -> None:
    """A density in the plane, in light greys, so that points stand out."""
    values = evaluate_on_grid(log_density, window, 160)
    axes.imshow(
        np.exp(values - values.max()), origin="lower", extent=window, cmap="Greys", vmax=1.4
    )
    bare(axes, window)


def dots(axes: Axes, points: np.ndarray, size: float = 5.0) -> None:
    axes.scatter(*np.asarray(points).T, s=size, c=COLOURS[0], linewidths=0, alpha=0.7)


def of_sampling() -> Figure:
    """Targets of the plane with draws of their exact samplers."""
    names = [name for name in sampling.TARGETS if sampling.make_target(name).dim == 2]
    figure, axes = panels(len(names), size=2.2)
    for axis, name in zip(axes, names):
        target = sampling.make_target(name)
        assert target.sample is not None
        points = np.asarray(target.sample(jax.random.key(0), 2000))
        shade(axis, target.log_density, window_around(points))
        dots(axis, points[:300])
        axis.set_title(name)
    return figure


TWO_MODES = jnp.array([0.7, 0.3]), jnp.array([-2.0, 2.5]), jnp.array([0.7, 0.5])
"""Weights, means and standard deviations of two modes on the line."""


CLOSER = jnp.array([0.6, 0.4]), jnp.array([-1.7, 1.9]), jnp.array([0.6, 0.5])
"""The same, nearer to each other."""


def log_mixture(x: jax.Array, mixture_of: tuple = TWO_MODES) -> jax.Array:
    """log p of x [N, 1]."""
    weights, means, stds = mixture_of
    return jax.scipy.special.logsumexp(jnp.log(weights) + norm.logpdf(x, means, stds), axis=1)


def nearest_gaussian(name: str) -> tuple[float, float]:
    """Mean and standard deviation of the Gaussian at the least divergence D(p || q)."""

    log_p = lambda x: log_mixture(x, CLOSER)

    def value(q):
        log_q = lambda x: norm.logpdf(x[:, 0], q[0], jnp.exp(q[1]))
        return divergences.quadrature.quadrature(name, log_p, log_q, [-12.0], [12.0], 2001)

    starts = jnp.array([[-1.7, -0.5], [1.9, -0.7], [0.0, 0.5]])
    found = [minimize(value, start, method="BFGS") for start in starts]
    best = min(found, key=lambda f: float(f.fun) if np.isfinite(f.fun) else np.inf)
    return float(best.x[0]), float(jnp.exp(best.x[1]))


def of_divergences() -> Figure:
    """The Gaussian that each divergence chooses, and the two couplings of two sets."""
    figure = Figure((9.6, 3.0), layout="constrained")
    left, *right = figure.subplots(1, 3, width_ratios=[1.9, 1, 1])
    x = np.linspace(-5, 5, 600)
    left.fill_between(
        x, np.exp(log_mixture(jnp.asarray(x)[:, None], CLOSER)), color="#D9D9D9", label="p"
    )
    for colour, name in zip(COLOURS, ("kl", "jensen_shannon", "squared_hellinger", "reverse_kl")):
        mean, std = nearest_gaussian(name)
        left.plot(x, norm.pdf(x, mean, std), color=colour, label=name.replace("_", " "))
    left.set(title="the Gaussian q at the least D(p || q)", ylim=(0, None), yticks=[])
    left.legend(loc="upper right", bbox_to_anchor=(1.0, 1.0))
    keys = jax.random.split(jax.random.key(2), 3)
    a = jax.random.normal(keys[0], (40, 2)) * 0.6
    angle = 2 * jnp.pi * jax.random.uniform(keys[1], (40,))
    b = 2 * jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1)
    for axis, name in zip(right, ("independent", "optimal_assignment")):
        j = divergences.COUPLINGS[name](keys[2], a, b)
        lines = LineCollection(np.stack([a, b[j]], 1), colors=DATA, linewidths=0.6, alpha=0.6)
        axis.add_collection(lines)
        axis.scatter(*np.asarray(a).T, s=12, c=COLOURS[0], zorder=3)
        axis.scatter(*np.asarray(b).T, s=12, c=COLOURS[1], zorder=3)
        bare(axis, (-2.4, 2.4, -2.4, 2.4))
        axis.set_title(f"coupling: {name.replace('_', ' ')}")
    return figure


def of_mcmc() -> Figure:
    """One chain of each kernel on eight modes: where 600 steps lead from one start."""
    target = sampling.make_target("ring", radius=4.0)
    log_density, steps = target.log_density, 600
    betas = jnp.geomspace(1.0, 0.03, 6)
    kernels = {
        "random walk": mcmc.random_walk(log_density, 0.8),
        "MALA": mcmc.mala(log_density, 0.3),
        "HMC": mcmc.hmc(log_density, 0.25, num_steps=8),
        "parallel tempering": mcmc.parallel_tempering(
            log_density, betas, lambda density: mcmc.random_walk(density, 0.8)
        ),
    }
    figure, axes = panels(len(kernels), size=2.4)
    for axis, (name, kernel) in zip(axes, kernels.items()):
        start = jnp.array([[4.0, 0.0]])
        samples = np.asarray(mcmc.run(jax.random.key(3), kernel, start, steps)[0])[:, 0]
        shade(axis, log_density, (-6, 6, -6, 6))
        axis.plot(*samples.T, color=COLOURS[5], linewidth=0.4, alpha=0.6)
        dots(axis, samples, 4)
        axis.set_title(name)
    return figure


def of_energy() -> Figure:
    """Energies of two modes apart, by three losses: the density exp(-E) / Z beside the true one."""
    weights, means, stds = TWO_MODES
    key_mode, key_noise = jax.random.split(jax.random.key(0))
    k = jax.random.categorical(key_mode, jnp.log(weights), shape=(20_000,))
    points = (means[k] + stds[k] * jax.random.normal(key_noise, (20_000,)))[:, None]
    network = nets.EnergyNet((64, 64, 64))
    options = {"shape": (1,), "base_std": 3.0, "ema_decay": 0.99}
    models = {
        "score matching (implicit)": lambda o: energy.score_model(
            network, o, loss="implicit", **options
        ),
        "score matching (denoising)": lambda o: energy.score_model(
            network, o, loss="denoising", **options
        ),
        "noise-contrastive": lambda o: energy.nce(network, o, **options),
    }
    figure = Figure((9.6, 2.7), layout="constrained")
    x = jnp.linspace(-6, 6, 600)[:, None]
    for axis, (name, make) in zip(figure.subplots(1, 3, sharey=True), models.items()):
        model = make(optax.adam(optax.cosine_decay_schedule(2e-3, 2000)))
        batch = {"x": np.asarray(points, np.float32)}
        state = training.fit(jax.random.key(1), model, batch, steps=2000, batch_size=256)
        log_p = -np.asarray(energy.energy(model, state)(x), np.float64)
        p = np.exp(log_p - log_p.max())
        axis.fill_between(x[:, 0], np.exp(log_mixture(x)), color="#D9D9D9", label="p")
        axis.plot(x[:, 0], p / np.trapezoid(p, np.asarray(x[:, 0])), label="exp(-E) / Z")
        axis.set(title=name, ylim=(0, 0.85), yticks=[])
    axis.legend(loc="upper right")
    return figure


def of_inverse() -> Figure:
    """Draws of each solver for one measurement y = x_1 + noise, on the exact posterior."""
    prior = inverse_cases.prior_of(2)
    operators = inverse_cases.operators_of(2)
    problems = inverse_cases.problems_of(prior, [operators["inpainting"]])
    weights = np.asarray(problems.posterior.weights[0])
    # The problem whose posterior is the most even mixture.
    chosen = int(np.argmax(-np.sum(weights * np.log(weights + 1e-12), 1)))
    pick = lambda tree: jax.tree.map(lambda a: a[0, chosen : chosen + 1], tree)
    posterior = pick(problems.posterior)
    operator = jax.tree.map(lambda a: a[0], problems.measurement).operator()
    denoise = inverse_cases.diffusion.mixture_denoiser(*prior, inverse_cases.PATH)
    std = float(jnp.sqrt(jnp.mean(mixture.sample(jax.random.key(0), prior, 10_000) ** 2)))
    case = inverse_cases.Case(denoise, operator, pick(problems.y), posterior, std, 128)
    names = (
        "twisted_smc",
        "moment_matching",
        "pseudo_inverse_guidance",
        "proximal",
        "ddrm",
        "dps",
        "null_space",
    )
    exact = mixture.Mixture(*(a[0] for a in posterior[:3]))
    sets = {"exact posterior": np.asarray(pick(problems.exact))[0]}
    for name in names:
        sets[name] = np.asarray(inverse_cases.SOLVERS[name](jax.random.key(2), case, 50))[0]
    window = window_around(*sets.values())
    figure, axes = panels(len(sets), 4, size=2.2)
    for axis, (name, points) in zip(axes, sets.items()):
        shade(axis, lambda x: mixture.log_prob(exact, x), window)
        axis.axvline(float(case.y[0, 0]), color=COLOURS[1], linewidth=0.7)
        dots(axis, points)
        axis.set_title(name)
    return figure


def tokens(run: str) -> Path:
    """Twelve images of a run of `experiments.token_diffusion` on their way, masks in grey."""
    saved = rebuild(run)
    size = int(np.prod(saved.spec.shape))
    path, times = discrete_diffusion.absorbing(2), jnp.linspace(1.0, 0.0, 25)
    denoise = discrete_diffusion.denoiser(saved.model, saved.state)
    stepper, masks = discrete_diffusion.ancestral(), jnp.full((12, size), 2)
    draw = lambda key: discrete_diffusion.sample(
        key, denoise, path, masks, times, stepper, info=True
    )[1]
    steps = np.concatenate([masks[None], jax.jit(draw)(jax.random.key(1)).trajectory])
    shown = [0, 6, 12, 16, 20, 24]
    images = np.array([0, 255, 110], np.uint8)[steps[shown]].reshape(-1, *saved.spec.shape)
    grid = plotting.image_grid(images, columns=12)
    named = plotting.label_rows(grid, [f"t = {float(times[i]):.2f}" for i in shown])
    return plotting.save_image(PICTURES / "family_tokens.png", named)


PICTURE: dict[str, Callable[[], Figure]] = {
    "sampling": of_sampling,
    "divergences": of_divergences,
    "mcmc": of_mcmc,
    "energy": of_energy,
    "inverse": of_inverse,
}


def small(path: Path) -> None:
    """The picture in 128 colours, which these figures do not exceed by much."""
    Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)


def main(names: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[[], *PICTURE], default=[])
    parser.add_argument("--tokens", metavar="RUN_DIR", help="a run of token_diffusion")
    options = parser.parse_args(names)
    if options.tokens:
        print(f"written: {tokens(options.tokens)}")
    for name in options.names or ([] if options.tokens else PICTURE):
        with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
            path = save(PICTURE[name](), PICTURES / f"family_{name}.png", 110)
        small(path)
        print(f"written: {path} ({path.stat().st_size / 1000:.0f} kB)", flush=True)


if __name__ == "__main__":
    main()
