"""Time of one training step against PyTorch, for the same MLP, DiT and U-Net.

    python -m benchmarks.training_step      # needs `pip install torch`; a quiet machine; 3 minutes

A step is a velocity loss on noised 28 x 28 images (batch 64), Adam and an exponential moving
average of the parameters. Each framework runs in a process of its own, compiled and warm; the
processes take turns of a second, so that a disturbance of the machine hits both, and the ratio of
the medians is reported (above 1: jax is faster). On a CPU jax runs once with one device and once
with a device per core and the batch sharded over them; the faster is compared with PyTorch eager
(channels last, fused Adam). On a GPU both compute in bfloat16, PyTorch under torch.compile, and the
share of the peak FLOP/s follows from XLA's cost analysis.

Writes benchmarks/results/training_step_<device>.json and prints the Markdown table.
"""

import statistics
import sys
import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
import tyro
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from benchmarks.measuring import cores, machine, write
from benchmarks.workers import Worker, serve
from gen_jax import nets
from gen_jax.errors import ConfigError, check_choice, check_range
from gen_jax.training import set_cpu_devices

SIZE, CHANNELS = 28, 1
NETWORKS: dict[str, dict] = {
    "mlp": {"features": (256, 256, 256)},
    "dit": {"patch": 4, "width": 192, "depth": 4, "heads": 3},
    "unet": {"widths": (32, 64, 80), "blocks": 2},
}
PEAK_BFLOAT16 = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12}  # dense, FLOP/s


@dataclass(frozen=True)
class Config:
    networks: tuple[str, ...] = tuple(NETWORKS)
    batch_size: int = 64
    rounds: int = 12  # turns of each process
    seconds: float = 1.0  # length of a turn


def loss(network, params, images, key):
    """Mean squared error of the velocity eps - x0 along x_t = (1 - t) x0 + t eps, t uniform."""
    key_time, key_noise = jax.random.split(key)
    t = jnp.clip(jax.random.uniform(key_time, images.shape[:1]), 1e-3, 1 - 1e-3)
    eps = jax.random.normal(key_noise, images.shape)
    w = t[:, None, None, None]
    predicted = network.apply(params, (1 - w) * images + w * eps, jnp.log(t / (1 - t)) / 4)
    return jnp.mean((predicted - (eps - images)) ** 2)


def jax_worker(name: str, batch_size: int, devices: int) -> None:
    """Compile the step, report its parameters and FLOPs, then time it whenever asked."""
    set_cpu_devices(devices)
    on_gpu = jax.default_backend() == "gpu"
    network = nets.NETWORKS[name](**NETWORKS[name], dtype=jnp.bfloat16 if on_gpu else jnp.float32)
    optimizer = optax.adam(1e-4)

    def step(state, images):
        params, moments, ema, key = state
        key, key_loss = jax.random.split(key)
        gradient = jax.grad(loss, 1)(network, params, images, key_loss)
        updates, moments = optimizer.update(gradient, moments)
        params = optax.apply_updates(params, updates)
        return params, moments, optax.incremental_update(params, ema, 1e-3), key

    def many(state, images, count):
        return jax.lax.fori_loop(0, count, lambda _, state: step(state, images), state)

    # Like `training.fit`: many steps in one call, but for convolutions on a CPU.
    in_python = name == "unet" and not on_gpu

    chosen = jax.devices()[:devices]
    mesh = jax.make_mesh((devices,), ("data",), (AxisType.Auto,), devices=chosen)
    place = lambda tree, *axes: jax.device_put(tree, NamedSharding(mesh, PartitionSpec(*axes)))
    images = jax.random.normal(jax.random.key(0), (batch_size, SIZE, SIZE, CHANNELS))
    params = jax.jit(network.init)(jax.random.key(1), images[:1], jnp.zeros(1))
    copy = jax.tree.map(jnp.copy, params)
    state = place((params, optimizer.init(params), copy, jax.random.key(2)))
    images = place(images, "data")
    start = time.perf_counter()
    once = lambda state, images, count: step(state, images)
    compiled = jax.jit(once if in_python else many, donate_argnums=0)
    compiled = compiled.lower(state, images, jnp.int32(1)).compile()
    seconds = time.perf_counter() - start
    flops = (jax.jit(step).lower(state, images).cost_analysis() or {}).get("flops", 0.0)
    count = sum(p.size for p in jax.tree.leaves(params))
    kind = jax.devices()[0].device_kind

    def run(steps):
        nonlocal state
        for _ in range(steps if in_python else 1):
            state = compiled(state, images, jnp.int32(steps))
        jax.block_until_ready(state)

    serve({"parameters": count, "flops": flops, "compile_s": seconds, "kind": kind}, run)


def torch_worker(name: str, batch_size: int) -> None:
    """The same for the PyTorch peer."""
    import torch

    from benchmarks import torch_peers

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(cores())
    network = {
        "mlp": lambda **o: torch_peers.MLP(size=SIZE * SIZE * CHANNELS, **o),
        "dit": lambda **o: torch_peers.DiT(size=SIZE, channels=CHANNELS, **o),
        "unet": lambda **o: torch_peers.UNet(channels=CHANNELS, **o),
    }[name](**NETWORKS[name])
    trainer = torch_peers.Trainer(network, device, bfloat16=device == "cuda")
    images = torch.randn(batch_size, CHANNELS, SIZE, SIZE, device=device)
    images = images.contiguous(memory_format=torch.channels_last)

    def run(steps):
        for _ in range(steps):
            trainer.step(images)
        if device == "cuda":
            torch.cuda.synchronize()

    serve({"parameters": sum(p.numel() for p in network.parameters())}, run)


def compare(name: str, config: Config, on_gpu: bool) -> dict:
    """Let the processes of one network take turns; medians per step and their ratio."""
    workers = {"jax": Worker(__spec__.name, "jax", name, config.batch_size, 1)}
    if not on_gpu and cores() > 1:
        workers["jax_sharded"] = Worker(__spec__.name, "jax", name, config.batch_size, cores())
    workers["torch"] = Worker(__spec__.name, "torch", name, config.batch_size)
    try:
        for _ in range(config.rounds):
            for worker in workers.values():
                worker.turn(config.seconds)
    finally:
        for worker in workers.values():
            worker.close()
    facts = workers["jax"].description
    if facts["parameters"] != workers["torch"].description["parameters"]:
        raise ConfigError(f"the two versions of {name} differ in their number of parameters")
    medians = {key: statistics.median(worker.times[1:]) for key, worker in workers.items()}
    best = min((key for key in medians if key != "torch"), key=lambda key: medians[key])
    pairs = zip(workers["torch"].times[1:], workers[best].times[1:])
    ratios = sorted(peer / own for peer, own in pairs)
    result = {
        "parameters": facts["parameters"],
        **{f"{key}_ms": round(1e3 * value, 3) for key, value in medians.items()},
        "compared": best,
        "speed_over_torch": round(medians["torch"] / medians[best], 3),
        "speed_over_torch_range": [round(ratios[0], 3), round(ratios[-1], 3)],
        "compile_s": round(facts["compile_s"], 1),
        "gflop": round(facts["flops"] / 1e9, 2),
    }
    peak = next((v for k, v in PEAK_BFLOAT16.items() if k in facts["kind"]), None)
    if peak:
        result["share_of_peak"] = round(facts["flops"] / medians[best] / peak, 4)
    return result


def table(results: dict) -> str:
    """The Markdown table of the README."""
    head = "| network | parameters | jax ms | PyTorch ms | speed over PyTorch |"
    rows = [head, "|---|---|---|---|---|"]
    for name, r in results.items():
        own = f"{r[r['compared'] + '_ms']:.1f}"
        if r["compared"] == "jax_sharded":
            own += " (sharded)"
        low, high = r["speed_over_torch_range"]
        speed = f"{r['speed_over_torch']:.2f} ({low:.2f} to {high:.2f})"
        count = f"{r['parameters'] / 1e6:.1f} M"
        rows.append(f"| {name} | {count} | {own} | {r['torch_ms']:.1f} | {speed} |")
    return "\n".join(rows)


def main(config: Config) -> None:
    for name in config.networks:
        check_choice("networks", name, NETWORKS)
    check_range("rounds", config.rounds, 2, integer=True)
    check_range("batch_size", config.batch_size, 1, integer=True)
    check_range("seconds", config.seconds, 0, open_low=True)
    facts = machine("torch")
    backend = jax.default_backend()
    results = {name: compare(name, config, backend == "gpu") for name in config.networks}
    write("training_step", facts, {"batch_size": config.batch_size, "networks": results})
    print(table(results))


if __name__ == "__main__":
    if sys.argv[1:3] == ["--worker", "jax"]:
        jax_worker(sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    elif sys.argv[1:3] == ["--worker", "torch"]:
        torch_worker(sys.argv[3], int(sys.argv[4]))
    else:
        main(tyro.cli(Config))
