"""A step of a DCGAN against PyTorch, and many seeds under one vmap against one after another.

    python -m benchmarks.gan_training       # needs `pip install torch`; a quiet machine; 4 minutes

A step is that of gulrajani2017: five updates of the critic with the gradient penalty, each on its
own 64 images of 28 x 28, then one of the generator; both with Adam. Generator and critic are those
of `gan_nets.dcgan` with widths 64 and 32, the critic without normalisation. The frameworks run in
processes of their own that take turns, compiled and warm; the ratio of the medians is reported
(above 1: jax is faster). Then 16 seeds of a small GAN in the plane, 500 steps each, in one compiled
scan under vmap against 16 calls of the same scan for one seed; compilation is left out.

Writes benchmarks/results/gan_training_<device>.json.
"""

import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import optax
import tyro

from benchmarks.measuring import cores, machine, time_ratio, write
from benchmarks.workers import Worker, serve
from gen_jax import gan, training
from gen_jax.errors import check_range
from gen_jax.gan_nets import DCGANCritic, DCGANGenerator, MLPCritic, MLPGenerator
from gen_jax.model import GenerativeModel

SHAPE, LATENT, BATCH, CRITIC_UPDATES, WEIGHT = (28, 28, 1), 64, 64, 5, 10.0
SEEDS, PLANE_STEPS = 16, 500


@dataclass(frozen=True)
class Config:
    rounds: int = 10
    """Turns of each process; the first is left out."""
    seconds: float = 3.0
    """Length of a turn."""


def adam() -> optax.GradientTransformation:
    return optax.adam(1e-4, b1=0.5, b2=0.9)


def jax_worker() -> None:
    """One step at a time, as `training.fit` calls steps with convolutions on a CPU."""
    training.configure_backend(1)
    critic = DCGANCritic((32, 64), norm="none")
    model = gan.gan(
        DCGANGenerator(SHAPE, (64, 32)),
        critic,
        adam(),
        adam(),
        shape=SHAPE,
        latent=LATENT,
        loss="wgan",
        penalty="wgan_gp",
        penalty_weight=WEIGHT,
        n_critic=CRITIC_UPDATES,
    )
    x = jax.random.normal(jax.random.key(0), (CRITIC_UPDATES * BATCH, *SHAPE))
    state = model.init(jax.random.key(1), {"x": x})
    count = sum(p.size for p in jax.tree.leaves((state.generator, state.critic)))
    step = jax.jit(lambda key, state, x: model.step(key, state, {"x": x})[0], donate_argnums=1)
    key = jax.random.key(2)

    def run(steps):
        nonlocal state
        for _ in range(steps):
            state = step(key, state, x)
        jax.block_until_ready(state)

    serve({"parameters": count}, run)


def torch_worker() -> None:
    """The same in PyTorch, eager."""
    import torch
    from torch import nn

    torch.set_num_threads(cores())
    side = SHAPE[0] // 4
    generator = nn.Sequential(
        nn.Linear(LATENT, side * side * 64, bias=False),
        nn.Unflatten(1, (64, side, side)),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, 2, 1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, 2, 1),
        nn.Tanh(),
    )
    critic = nn.Sequential(
        nn.Conv2d(1, 32, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(64 * side * side, 1),
    )
    optimizers = [
        torch.optim.Adam(network.parameters(), 1e-4, (0.5, 0.9), fused=True)
        for network in (generator, critic)
    ]
    x = torch.randn(CRITIC_UPDATES, BATCH, 1, *SHAPE[:2])

    def optimizer_step(optimizer, loss):
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def step():
        for real in x:
            with torch.no_grad():
                fake = generator(torch.randn(BATCH, LATENT))
            share = torch.rand(BATCH, 1, 1, 1)
            between = (share * real + (1 - share) * fake).requires_grad_()
            (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
            penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
            loss = critic(fake).mean() - critic(real).mean() + WEIGHT * penalty
            optimizer_step(optimizers[1], loss)
        optimizer_step(optimizers[0], -critic(generator(torch.randn(BATCH, LATENT))).mean())

    def run(steps):
        for _ in range(steps):
            step()

    networks = (*generator.parameters(), *critic.parameters())
    serve({"parameters": sum(p.numel() for p in networks)}, run)


def compare(config: Config) -> dict[str, Any]:
    """Medians per step and their ratio."""
    workers = {name: Worker(__spec__.name, name) for name in ("jax", "torch")}
    for _ in range(config.rounds):
        for worker in workers.values():
            worker.turn(config.seconds)
    for worker in workers.values():
        worker.close()
    medians = {name: statistics.median(w.times[1:]) for name, w in workers.items()}
    ratios = sorted(t / j for t, j in zip(workers["torch"].times[1:], workers["jax"].times[1:]))
    return {
        **{f"{name}_ms": round(1e3 * value, 2) for name, value in medians.items()},
        "parameters": {name: w.description["parameters"] for name, w in workers.items()},
        "speed_over_torch": round(medians["torch"] / medians["jax"], 2),
        "speed_over_torch_range": [round(ratios[0], 2), round(ratios[-1], 2)],
    }


def in_the_plane() -> GenerativeModel:
    """A small GAN of points."""
    networks = MLPGenerator((2,), features=(64, 64)), MLPCritic(features=(64, 64))
    return gan.gan(*networks, adam(), adam(), shape=(2,), latent=4, penalty="r1")


def seeds_ratio() -> float:
    """Time of 16 seeds one after another over that of one vmap."""
    model = in_the_plane()
    x = jax.random.normal(jax.random.key(0), (128, 2))

    def train(key):
        state = model.init(key, {"x": x})
        body = lambda state, key: (model.step(key, state, {"x": x})[0], None)
        return jax.lax.scan(body, state, jax.random.split(key, PLANE_STEPS))[0].critic

    keys = jax.random.split(jax.random.key(1), SEEDS)
    together, alone = jax.jit(jax.vmap(train)), jax.jit(train)
    one_by_one: Callable = lambda: [alone(key) for key in keys]
    return time_ratio(one_by_one, lambda: together(keys), 5)


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    check_range("rounds", config.rounds, 2, integer=True)
    training.configure_backend(1)
    facts = machine("torch")
    report = {"step": compare(config), "seeds_one_by_one_over_vmap": round(seeds_ratio(), 2)}
    print(json.dumps(report, indent=1))
    write("gan_training", facts, report)


if __name__ == "__main__":
    if sys.argv[1:3] == ["--worker", "jax"]:
        jax_worker()
    elif sys.argv[1:3] == ["--worker", "torch"]:
        torch_worker()
    else:
        training.run_main(main)
