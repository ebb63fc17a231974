"""What a TemperFlow run has reached: log Z, refined samples, the curves of its stages."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.shared.registry import Saved
from gen_jax import plotting
from gen_jax.data import DatasetSpec
from gen_jax.metrics import compare_with_exact
from gen_jax.model import GenerativeModel
from gen_jax.randomness import sample_keys
from gen_jax.sampling import Target
from gen_jax.sampling.importance import log_normalizer, pareto_k
from gen_jax.transport import bijector, density, refine
from gen_jax.types import Array, Estimate, Key, State


def measure_target(key: Key[Array, ""], saved: Saved, target: Target, n: int) -> dict[str, Any]:
    """log Z from n draws of the flow; n refined samples beside exact ones, and how they came."""
    flow = bijector(saved.model, saved.state)
    propose = lambda keys: density.sample(keys, flow, len(keys), target.dim)

    @jax.jit
    def run(key):
        x, log_q = propose(sample_keys(jax.random.fold_in(key, 0), n))
        log_weights = target.log_density(x) - log_q
        log_z = log_normalizer(log_weights)
        key_refine = jax.random.fold_in(key, 1)
        found = refine(
            key_refine, propose, target.log_density, log_z.value, n, margin=saved.config.margin
        )
        return log_z, pareto_k(log_weights), *found

    log_z, tail, refined, done = run(key)
    numbers: dict[str, Any] = {"log_normalizer": Estimate(*map(float, log_z))}
    numbers["pareto_k"] = float(tail)
    if target.log_normalizer is not None:
        numbers["log_normalizer_exact"] = target.log_normalizer
    after = compare_with_exact(key, target, np.asarray(refined))
    kept = {f"refined_{k}": v for k, v in after.items() if not k.endswith(("exact", "std"))}
    return numbers | kept | {name: float(value) for name, value in done._asdict().items()}


def tempering(directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State) -> Path:
    """Curves of b, KL(p_b || p) and log Z over the run, up to its last stage."""
    records = [r for r in plotting.read_metrics(directory / "metrics.jsonl") if r.get("loss")]
    figure = plotting.training_curves(records, ["beta", "kl", "log_z"])
    return plotting.save(figure, directory / "samples" / "tempering.png")
