"""Whether a change of the code changes a number: digests of small runs of every experiment.

    python -m benchmarks.same_numbers before.json               # on the old commit
    python -m benchmarks.same_numbers after.json --compare before.json   # on the new one

Each experiment that both commits have trains four steps at a small size and draws ten samples;
those that start from another run are left out. Digests of the state's arrays are sorted, so that
fields may move. A difference ends with exit code 1.
"""

import hashlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from experiments.shared import registry
from experiments.shared.small import small_words
from gen_jax import data

VARIANTS: dict[str, tuple[str, ...]] = {
    "diffusion": ("--path", "vp"),
    "gan": ("--loss", "hinge"),
}
"""A second run of some experiments, with other options."""


@dataclass(frozen=True)
class Config:
    """Where the digests go, and what they are compared with."""

    output: Annotated[str, tyro.conf.Positional]
    compare: str | None = None
    only: tuple[str, ...] = ()
    """Names of experiments; all if not given."""


def digests(tree: Any) -> list[str]:
    """Sorted digests of the arrays of a pytree."""
    raw = lambda leaf: jax.random.key_data(leaf) if jax.dtypes.issubdtype(
        leaf.dtype, jax.dtypes.prng_key
    ) else leaf  # fmt: skip
    arrays = [np.asarray(raw(leaf)) for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype")]
    one = lambda a: hashlib.sha256(f"{a.dtype}{a.shape}".encode() + a.tobytes()).hexdigest()[:16]
    return sorted(map(one, arrays))


def run_of(name: str, words: tuple[str, ...] = ()) -> dict[str, Any]:
    """Digests of the state after four steps, and of ten samples."""
    made = registry.find(name)
    small = ("--batch-size", "16", "--steps", "4", *small_words(made.config))
    config = tyro.cli(made.config, args=[*small, *words])
    spec = data.describe(config.dataset)
    known = spec.kind == "points" and spec.name.startswith("target:")
    train = {} if known else data.load(config.dataset, "train")
    model = made.build(config, spec)
    key, step = jax.random.key(0), jax.jit(model.step)
    batch = lambda i: (
        {k: v[16 * i : 16 * (i + 1)] for k, v in train.items()}
        or {"x": np.zeros((16, *spec.shape), np.float32)}
    )
    state = model.init(key, batch(0))
    for i in range(4):
        state, _ = step(jax.random.fold_in(key, i), state, batch(i))
    found = {"state": digests(state)}
    if model.sample is not None:
        found["samples"] = digests(model.sample(jax.random.key(1), state, 10))
    return found


def main() -> int:
    config = tyro.cli(Config, description=__doc__)
    found: dict[str, Any] = {}
    before = json.loads(Path(config.compare).read_text()) if config.compare else None
    for name in registry.EXPERIMENTS:
        experiment = registry.find(name)
        if experiment.bases_for(experiment.config()):
            continue  # it starts from another run
        for words in ((), *((VARIANTS[name],) if name in VARIANTS else ())):
            label = " ".join((name, *words))
            if (config.only and name not in config.only) or (before and label not in before):
                continue
            begun = time.process_time()
            found[label] = run_of(name, words)
            Path(config.output).write_text(json.dumps(found, indent=1))
            print(f"{label:40s} {time.process_time() - begun:6.1f} CPU s", flush=True)
    if before is None:
        return 0
    wrong = [name for name in found if found[name] != before[name]]
    print(f"equal: {len(found) - len(wrong)} of {len(found)}; different: {', '.join(wrong) or '-'}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
