"""The tables of docs/performance.md as records, from what the benchmarks measured.

    python -m benchmarks.training_step      # and the others: each writes benchmarks/results
    python -m benchmarks.speed_tables       # the records
    python docs/results/render.py           # the page

Ratios are always the other's time over this project's: above 1, this project is faster.
"""

import json
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.measuring import RESULTS, write_record

MEASURED = {
    "training_step": "40edeb9",
    "vae_training": "5c58e4b",
    "gan_training": "1b059d2",
    "em_peers": "497731c",
    "mcmc_peers": "82996bb",
    "sinkhorn_peers": "82996bb",
    "flow_peers": "fa5ea32",
    "decoding": "d995b29",
    "inversion": "d995b29",
    "drawing": "2dfed3c",
}
"""Benchmark -> the commit of its result, where the result itself does not say it."""

EARLIER = {"mlp": "1.73 (8633ed6)", "dit": "1.03 (8633ed6)", "unet": "0.67 (8633ed6)"}
EARLIER_GAN = "0.64 (5c58e4b)"
"""Ratios of earlier measurements: `git show COMMIT:benchmarks/results/...`."""

STEPS = {"mlp": "MLP step", "dit": "DiT step", "unet": "U-Net step"}
KERNELS = {"hmc": "HMC", "random_walk": "random walk"}
FORMS = {"dense": "precision matrix", "chain": "chain of conditionals"}
TASKS = {"train": "20 training steps of 512", "sample": "4,096 samples"}
Row = Sequence[str]


def load(name: str) -> dict[str, Any]:
    """What a benchmark measured on a CPU."""
    return json.loads((RESULTS / f"{name}_cpu.json").read_text(encoding="utf-8"))


def milliseconds(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def ratio(value: float) -> str:
    return f"{value:.0f}" if value >= 20 else f"{value:.2f}"


def spread(values: Sequence[float]) -> str:
    return f"{ratio(values[0])} to {ratio(values[-1])}"


def quartiles(values: Sequence[float]) -> str:
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return spread([low, high])


def about(*names: str) -> str:
    """Machine, versions, and of each benchmark the commit and the load before it."""
    parts, where = [], {}
    for name in names:
        facts = load(name)
        facts = facts.get("machine", facts)
        where |= {key: facts[key] for key in ("cores", "cpu", "python", "jax") if facts.get(key)}
        load_before = facts.get("load_before", facts.get("load_average"))
        load_before = load_before[0] if isinstance(load_before, list) else load_before
        beside = "" if load_before is None else f", load {load_before}"
        commit = (facts.get("commit") or MEASURED[name])[:7]
        parts.append(f"`benchmarks.{name}` ({commit}{beside})")
    of = f" of {where['cpu']}" if "cpu" in where else ""
    what = f"{where['cores']} cores{of}, Python {where['python']}, jax {where['jax']}"
    return f"{what}. {', '.join(parts)}."


def training() -> tuple[Row, list[Row], str]:
    """One training step, or an epoch, beside PyTorch."""
    columns = [
        "what",
        "gen_jax, ms",
        "PyTorch, ms",
        "ratio",
        "lowest to highest",
        "GFLOP/s, gen_jax and PyTorch",
        "an earlier ratio",
    ]
    rows: list[Row] = []
    for name, r in load("training_step")["networks"].items():
        own, peer = r[f"{r['compared']}_ms"], r["torch_ms"]
        rates = f"{r['gflop'] / own * 1e3:.0f}, {r['gflop'] / peer * 1e3:.0f}"
        title = f"{STEPS[name]}, {r['parameters'] / 1e6:.1f} M parameters"
        times = milliseconds(own), milliseconds(peer), ratio(r["speed_over_torch"])
        rows.append([title, *times, spread(r["speed_over_torch_range"]), rates, EARLIER[name]])
    vae, gan = load("vae_training"), load("gan_training")["step"]
    epoch, density = vae["epoch"], vae["likelihood"]
    times = [milliseconds(1e3 * epoch[f"{which}_seconds"]) for which in ("jax", "torch")]
    found = ratio(epoch["speed_over_torch"]), spread(epoch["speed_over_torch_range"])
    rows.append(["VAE 784-400-20, an epoch of 60,000 images", *times, *found, "", ""])
    times = [milliseconds(gan[f"{which}_ms"]) for which in ("jax", "torch")]
    found = ratio(gan["speed_over_torch"]), spread(gan["speed_over_torch_range"])
    title = "DCGAN, a WGAN-GP step with five updates of the critic"
    rows.append([title, *times, *found, "", EARLIER_GAN])
    status = (
        f"{about('training_step', 'vae_training', 'gan_training')} PyTorch "
        f"{load('training_step')['machine']['torch'].partition('+')[0]} eager. FLOPs as XLA counts "
        f"them. log p of {density['images']:,} images by {density['importance_samples']:,} "
        f"importance samples each takes the VAE {density['seconds']:.0f} s and "
        f"{density['peak_megabytes']} MB."
    )
    return columns, rows, status


def _em() -> Iterable[Row]:
    for kind, r in load("em_peers")["gen_jax in"].items():
        yield [
            f"EM, 100,000 points, 10 dimensions, 10 full covariances, {kind}, per iteration",
            "scikit-learn 1.9",
            milliseconds(r["milliseconds_gen_jax"]),
            milliseconds(r["milliseconds_scikit_learn"]),
            ratio(r["ratio"]),
            quartiles(r["ratio_of_each_pair"]),
            f"log-likelihoods differ by {r['difference']:.1g}",
        ]


def _chains() -> Iterable[Row]:
    for r in load("mcmc_peers")["rows"]:
        apart = r["gen_jax_effective_per_evaluation"] / r["blackjax_effective_per_evaluation"]
        yield [
            f"{KERNELS[r['kernel']]}, 256 chains, {r['dim']} dimensions, {FORMS[r['density']]}",
            "blackjax 1.7",
            milliseconds(1e3 * r["gen_jax_seconds"]),
            milliseconds(1e3 * r["blackjax_seconds"]),
            ratio(r["time_ratio"]),
            spread(r["time_ratio_quartiles"]),
            f"effective samples per evaluation: {apart:.3f} times blackjax's",
        ]


def _flows() -> Iterable[Row]:
    for r in load("flow_peers")["rows"]:
        yield [
            f"eight {r['kind']} couplings, 16 dimensions, {TASKS[r['task']]}",
            r["peer"],
            milliseconds(1e3 * r["gen_jax_seconds"]),
            milliseconds(1e3 * r[f"{r['peer']}_seconds"]),
            ratio(r["time_ratio"]),
            spread(r["time_ratio_quartiles"]),
            "" if r["peer"] == "flowjax" else "PyTorch",
        ]


def _sinkhorn() -> Iterable[Row]:
    rows = load("sinkhorn_peers")["rows"]
    ours = {(r["n"], r["epsilon"]): r for r in rows if r["solver"] == "ours"}
    for r in rows:
        if r["solver"] == "ours":
            continue
        own = ours[r["n"], r["epsilon"]]
        failed = f"not converged: marginals off by {r['error']:.1g}"
        counts = f"{own['iterations']} and {r['iterations']} iterations"
        yield [
            f"Sinkhorn, n = {r['n']}, epsilon {r['epsilon']}",
            r["solver"],
            milliseconds(own["ms"]),
            milliseconds(own["ms"] * r["ratio"]) if "ratio" in r else "",
            ratio(r["ratio"]) if "ratio" in r else "",
            "",
            counts if "ratio" in r else failed,
        ]


def peers() -> tuple[Row, list[Row], str]:
    """Other libraries, the same work."""
    columns = ["what", "peer", "gen_jax, ms", "peer, ms", "ratio", "quartiles", "beside it"]
    status = f"{about('em_peers', 'mcmc_peers', 'flow_peers', 'sinkhorn_peers')}"
    return columns, [*_em(), *_chains(), *_flows(), *_sinkhorn()], status


def within() -> tuple[Row, list[Row], str]:
    """What a method or an option gains over the plain way of this project."""
    rows: list[Row] = []
    tokens = {
        "transformer over without the cache": ("tokens, keys and values kept", "whole passes"),
        "transformer over PyTorch with a cache": ("the same", "PyTorch with a cache"),
        "transformer over PyTorch without a cache": ("the same", "PyTorch, whole passes"),
        "pixelcnn over whole passes": ("PixelCNN, 28 x 28, cached rows", "whole passes"),
        "gated over whole passes": ("gated PixelCNN, 28 x 28, cached rows", "whole passes"),
    }
    for name, r in load("decoding")["rows"].items():
        title, plain = tokens[name]
        rows.append([title, plain, ratio(r["times_faster"]), f"{r['per_second']:,.0f} per second"])
    for name, r in load("inversion")["rows"].items():
        speed = f"{r['per_second']:,.0f} per second"
        plain = "one value after another" if name.startswith("MAF") else "one patch after another"
        rows.append([f"{name}, by Jacobi's iteration", plain, ratio(r["times_faster"]), speed])
    for name, r in load("training_step")["networks"].items():
        found = ratio(r["jax_ms"] / r["jax_sharded_ms"])
        rows.append([f"{STEPS[name]}, batch over two CPU devices", "one device", found, ""])
    epoch = load("vae_training")["epoch"]
    found = ratio(epoch["jax_seconds"] / epoch["jax_sharded_seconds"])
    rows.append(["VAE epoch, batch over two CPU devices", "one device", found, ""])
    found = ratio(load("gan_training")["seeds_one_by_one_over_vmap"])
    rows.append(["16 seeds of a GAN under one vmap", "one after another", found, ""])
    columns = ["what", "instead of", "ratio", "beside it"]
    return columns, rows, about("decoding", "inversion", "training_step")


def overhead() -> tuple[Row, list[Row], str]:
    """Times over the least they can be."""
    found: dict[str, dict[str, float]] = {}
    for name, value in load("overhead")["ratios"].items():
        kind, _, network = name.partition(", ")
        found.setdefault(network, {})[kind] = value
    kinds = {
        "sampler ddim": "DDIM",
        "sampler ddpm": "DDPM",
        "sampler dpm_solver_pp": "DPM-Solver++",
        "sampler edm_heun": "Heun in sigma",
        "training data": "training data",
    }
    rows = [[network, *(f"{r[k]:.2f}" for k in kinds)] for network, r in found.items()]
    return ["network", *kinds.values()], rows, about("overhead")


def _times(r: dict[str, float]) -> str:
    """Over the flow's: of as many states (of as many effective samples) / on the slides."""
    return f"{r['ratio']:.2g} ({r['ratio_per_ess']:.2g}) / {r['ratio_slides']:,.0f}"


def drawing() -> tuple[Row, list[Row], str]:
    """10,000 points of the Clayton copulas by a flow and by chains."""
    found: dict[int, dict[str, dict[str, float]]] = {}
    for r in load("drawing")["rows"]:
        found.setdefault(r["dim"], {})[r["sampler"]] = r
    chains = ("random walk", "HMC", "parallel tempering")
    rows: list[Row] = []
    for dim, by in found.items():
        refined = by.get("flow, refined")
        cells = [_times(by[c]) for c in chains]
        rows.append(
            [
                str(dim),
                f"{by['flow']['seconds']:.2f}",
                f"{refined['ratio']:.0f}" if refined else "",
                *cells,
            ]
        )
    return ["dimension", "flow, s", "refined by rejection", *chains], rows, about("drawing")


TABLES = {
    "speed-training": training,
    "speed-peers": peers,
    "speed-within": within,
    "speed-overhead": overhead,
    "speed-drawing": drawing,
}


def record(name: str) -> dict[str, Any]:
    """The record of a table, as docs/results/render.py reads it."""
    columns, rows, status = TABLES[name]()
    cells = [[*row] for row in rows]
    return {"kind": "table", "name": name, "status": status, "columns": [*columns], "rows": cells}


def main() -> None:
    for name in TABLES:
        write_record(record(name))


if __name__ == "__main__":
    main()
