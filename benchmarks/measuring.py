"""What the benchmarks share: times, ratios of times, the machine, results as JSON."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.calls import network_call
from gen_jax.data.toy import TOY
from gen_jax.diffusion import GRIDS, Stepper, sample_with_info
from gen_jax.model import GenerativeModel
from gen_jax.paths import linear
from gen_jax.training.environment import environment

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parents[1] / "docs"


def seconds(run: Callable[[], Any]) -> float:
    """Wall time of one run."""
    begun = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - begun


def cpu_seconds_per_1000(sample: Callable[[int], Any], count: int) -> float:
    """CPU seconds, of all threads, of 1,000 samples, by one draw of `count` that is compiled."""
    begun = time.process_time()
    sample(count)
    return 1000 * (time.process_time() - begun) / count


def time_ratio(run: Callable[[], Any], floor: Callable[[], Any], repeats: int = 25) -> float:
    """Median of time(run) / time(floor), measured in turns after a warm-up.

    Pairs share the machine's state of the moment, so that the ratio is steadier than either time.
    """
    seconds(run), seconds(floor)
    return statistics.median(seconds(run) / seconds(floor) for _ in range(repeats))


def cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine(*packages: str) -> dict[str, Any]:
    """What the numbers depend on, the load before measuring among it; warns of a busy machine.

    Args:
      packages: those compared with, for their versions.
    """
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    load = round(os.getloadavg()[0], 2)
    if load > 0.5:
        print(f"warning: load {load}; times on a busy machine mean little")
    return {
        "device": jax.devices()[0].device_kind,
        "cpu": model or platform.processor(),
        "cores": cores(),
        "load_before": load,
        "commit": environment()["commit"],
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "jaxlib", "flax", "optax", *packages)},
    }


def result_path(name: str) -> Path:
    return RESULTS / f"{name}_{jax.default_backend()}.json"


def read(name: str) -> dict[str, Any]:
    """What `write` left, or nothing."""
    path = result_path(name)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write(name: str, facts: Mapping[str, Any], report: Mapping[str, Any]) -> None:
    """`results/NAME_BACKEND.json`, with the machine's facts first."""
    RESULTS.mkdir(exist_ok=True)
    path = result_path(name)
    path.write_text(json.dumps({"machine": facts, **report}, indent=1) + "\n", encoding="utf-8")
    print(f"written: {path}")


def markdown(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A table's lines in Markdown."""
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ["---"] * len(head), *body))


def write_record(record: Mapping[str, Any], docs: Path = DOCS) -> Path:
    """A table's record, as docs/results/render.py reads it: name, status, columns, rows."""
    path = docs / "results" / "records" / f"{record['name']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"kind": "table", **record}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    print(f"written: {path}")
    return path


def network_calls(stepper: Stepper) -> tuple[int, int]:
    """Network calls of a sampler's last step, and of each step before it."""

    def calls(steps: int) -> int:
        path = linear()
        denoise = network_call(lambda x, t: 0.5 * x)
        times, x = GRIDS[stepper.grid](path, steps), jnp.ones((1, 2))
        return int(sample_with_info(jax.random.key(0), denoise, path, x, times, stepper)[1].calls)

    per_step = calls(4) - calls(3)
    return calls(4) - 3 * per_step, per_step


def train_seeds(
    model: GenerativeModel,
    dataset: str,
    seeds: int,
    steps: int,
    batch_size: int,
    draw: Callable[[Any, Any], Any],
) -> Any:
    """What `draw(key, state)` gives of each seed, [seeds, ...] of NumPy.

    All seeds are trained on the points of a set of TOY in one compiled call.
    """
    points = TOY[dataset](jax.random.key(0), 100_000)

    def one(key):
        state = model.init(key, {"x": points[:batch_size]})

        def body(state, i):
            key_rows, key_step = jax.random.split(jax.random.fold_in(key, i))
            rows = jax.random.randint(key_rows, (batch_size,), 0, len(points))
            return model.step(key_step, state, {"x": points[rows]})[0], None

        state, _ = jax.lax.scan(body, state, jnp.arange(steps))
        return draw(jax.random.fold_in(key, steps), state)

    keys = jax.random.split(jax.random.key(1), seeds)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(keys))
