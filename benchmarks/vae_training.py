"""An epoch of a VAE on MNIST against PyTorch, and the likelihood of its test images.

    python -m benchmarks.vae_training       # needs `pip install torch`; a quiet machine; 3 minutes

The model is 784-400-20-400-784 with ReLU, one draw of z, the closed-form KL, Adam and batches of
128, for 60,000 binarised images in memory. Ours is the loop of `training.fit`, PyTorch's is eager
with fused Adam; each shuffles its batches. They run in processes of their own that take turns of
one epoch; the ratio of the medians is reported (above 1: jax is faster). Then log p(x) of 1,000
images by 5,000 importance samples each in one call, and the memory that it takes.

Writes benchmarks/results/vae_training_<device>.json.
"""

import json
import resource
import statistics
import sys
import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from benchmarks.measuring import cores, machine, write
from benchmarks.workers import Worker, serve
from gen_jax import data, training, vae
from gen_jax.errors import check_range
from gen_jax.model import GenerativeModel
from gen_jax.training.loop import prepare_loop

PIXELS, HIDDEN, LATENT, BATCH, IMAGES = 784, 400, 20, 128, 60_000
STEPS = IMAGES // BATCH


@dataclass(frozen=True)
class Config:
    rounds: int = 7
    """Epochs of each process; the first is left out."""
    images: int = 1000
    importance_samples: int = 5000


def pictures(count: int) -> np.ndarray:
    """Of random pixels; what they show does not change the time."""
    return np.random.default_rng(0).integers(0, 256, (count, 28, 28, 1), np.uint8)


def model() -> GenerativeModel:
    """Bernoulli pixels of `binarized:` data."""
    hidden = vae.mlp((HIDDEN,))
    options = {"shape": (28, 28, 1), "latent": LATENT, "likelihood": "bernoulli"}
    return vae.vae(hidden, hidden, optax.adam(1e-3), transform=data.binarize(), **options)


def jax_worker(devices: int) -> None:
    """An epoch of `training.fit`'s own loop."""
    training.configure_backend(devices)
    x = pictures(IMAGES)
    mesh = training.make_mesh()
    key = jax.random.key(0)
    loop = prepare_loop(key, model(), {"x": x}, {"x": x[:BATCH]}, BATCH, mesh)
    state, epoch, begun = loop.init(), loop.compile(), 0
    count = sum(p.size for p in jax.tree.leaves(state.params))

    def run(epochs):
        nonlocal state, begun
        for _ in range(epochs):
            state, _, _ = epoch(state, begun, STEPS, None)
            begun += STEPS
        jax.block_until_ready(state)

    serve({"parameters": count}, run)


def torch_worker() -> None:
    """The same in PyTorch."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(cores())
    encoder = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENT))
    decoder = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS))
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, 1e-3, fused=True)
    x = torch.from_numpy(pictures(IMAGES)).reshape(IMAGES, PIXELS)

    def step(batch):
        u = (batch >= 128).float()
        mean, log_variance = encoder(u).chunk(2, 1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        nats = functional.binary_cross_entropy_with_logits(decoder(z), u, reduction="sum")
        kl = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum()
        optimizer.zero_grad(set_to_none=True)
        ((nats + kl) / len(u)).backward()
        optimizer.step()

    def run(epochs):
        for _ in range(epochs):
            for index in torch.randperm(IMAGES)[: STEPS * BATCH].reshape(STEPS, BATCH):
                step(x[index])

    serve({"parameters": sum(p.numel() for p in parameters)}, run)


def compare(config: Config) -> dict:
    """Medians of the epochs and their ratio."""
    workers = {"jax": Worker(__spec__.name, "jax", 1)}
    if cores() > 1 and jax.default_backend() == "cpu":
        workers["jax_sharded"] = Worker(__spec__.name, "jax", cores())
    workers["torch"] = Worker(__spec__.name, "torch")
    for _ in range(config.rounds):
        for worker in workers.values():
            worker.times.append(worker.time(1))
    for worker in workers.values():
        worker.close()
    medians = {name: statistics.median(w.times[1:]) for name, w in workers.items()}
    best = min((name for name in medians if name != "torch"), key=lambda name: medians[name])
    ratios = sorted(t / own for t, own in zip(workers["torch"].times[1:], workers[best].times[1:]))
    return {
        **{f"{name}_seconds": round(value, 3) for name, value in medians.items()},
        "parameters": {name: w.description["parameters"] for name, w in workers.items()},
        "compared": best,
        "speed_over_torch": round(medians["torch"] / medians[best], 2),
        "speed_over_torch_range": [round(ratios[0], 2), round(ratios[-1], 2)],
    }


def likelihoods(config: Config) -> dict:
    """Seconds after compilation, and the peak of the whole process's memory."""
    own, x = model(), jnp.asarray(pictures(config.images))
    state = own.init(jax.random.key(0), {"x": x})
    score = jax.jit(
        lambda key, state, x: own.log_prob(key, state, x, num_samples=config.importance_samples)
    )
    compiled = score.lower(jax.random.key(0), state, x).compile()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    jax.block_until_ready(compiled(jax.random.key(0), state, x))
    return {
        "images": config.images,
        "importance_samples": config.importance_samples,
        "seconds": round(time.perf_counter() - begun, 2),
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "megabytes_before": round(before / 1024),
    }


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    check_range("rounds", config.rounds, 2, integer=True)
    facts = machine("torch")
    report = {"epoch": compare(config), "likelihood": likelihoods(config)}
    print(json.dumps(report, indent=1))
    write("vae_training", facts, report)


if __name__ == "__main__":
    if sys.argv[1:3] == ["--worker", "jax"]:
        jax_worker(int(sys.argv[3]))
    elif sys.argv[1:3] == ["--worker", "torch"]:
        torch_worker()
    else:
        training.run_main(main)
