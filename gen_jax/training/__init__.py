"""Training, checkpoints, devices and reports, written once for every `GenerativeModel`."""

from gen_jax.fine_tuning import start_from
from gen_jax.training.backend import (
    MAX_CPU_DEVICES,
    cache_folder,
    configure_backend,
    set_cpu_devices,
)
from gen_jax.training.checkpoint import restore_state, saved_steps
from gen_jax.training.files import check_writable, write_json
from gen_jax.training.fit import fit
from gen_jax.training.identity import read_config
from gen_jax.training.main import run_main
from gen_jax.training.report import write_report
from gen_jax.training.rundir import check_same_run
from gen_jax.training.sharding import make_mesh, shard_batch, shard_state

__all__ = [
    "MAX_CPU_DEVICES",
    "cache_folder",
    "check_same_run",
    "check_writable",
    "configure_backend",
    "fit",
    "make_mesh",
    "read_config",
    "restore_state",
    "run_main",
    "saved_steps",
    "set_cpu_devices",
    "shard_batch",
    "shard_state",
    "start_from",
    "write_json",
    "write_report",
]
