"""What a script sets before jax is used: CPU devices, the compilation cache, several machines."""

import importlib.metadata
import os
from pathlib import Path

import jax

from gen_jax.checks import no_type_check
from gen_jax.data.cache import cache_folder
from gen_jax.errors import ConfigError, check_range
from gen_jax.training.console import warn

MAX_CPU_DEVICES = 256
"""Each has two threads and memory of its own."""

FEW_CORES = 4
"""With as many, a program rarely blocks a thread for each at once."""

_ACCELERATOR_FILES = (
    "/proc/driver/nvidia",
    "/dev/nvidia0",
    "/dev/accel0",
    "/dev/kfd",
    "/dev/vfio/0",
)


def _set(name: str, value) -> None:
    """Set a jax option that some versions lack, or refuse once a backend is running."""
    try:
        jax.config.update(name, value)
    except (AttributeError, RuntimeError):
        return


def _cores() -> int:
    """Those this process may use."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return own or 1


@no_type_check
def set_cpu_devices(count: int) -> None:
    """Split the CPU into `count` jax devices, before jax is used; a count in XLA_FLAGS wins.

    XLA gives its devices one pool with a thread per core and lets an all-reduce, and operations of
    linear algebra on many matrices, block its thread. With no thread to spare they wait for each
    other for ever, so the pool is made larger (`NPROC`, where XLA reads its size): twice the
    devices, one more than a few cores. Measured on 2 cores and jax 0.10: without this an MLP step
    with 2 devices hangs within seconds; with it a U-Net step is 6 % slower. A program with one
    device that diagonalises 96 matrices of 64 x 64 in two places hangs with 2 threads and ends with
    3; steps of an MLP and of convolutions take the same CPU seconds.
    """
    check_range("count", count, 1, integer=True)
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        _set("jax_num_cpu_devices", count)
        cores = _cores()
        if count > 1 or cores < FEW_CORES:
            os.environ.setdefault("NPROC", str(max(2 * count, cores + 1)))


def enable_compilation_cache() -> Path | None:
    """Keep compiled programs between runs; a folder the user has set already is left as it is.

    Returns the folder, or None where there is none that can be written.
    """
    given, ours = os.environ.get("JAX_COMPILATION_CACHE_DIR"), cache_folder()
    folder = Path(given) if given else ours and ours / "jax"
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        return None
    _set("jax_compilation_cache_dir", str(folder))
    _set("jax_persistent_cache_min_compile_time_secs", 0.0)
    return folder


def unused_accelerator() -> str | None:
    """A trace of an accelerator that jax does not use, or None."""
    if jax.default_backend() != "cpu" or os.environ.get("JAX_PLATFORMS", "").startswith("cpu"):
        return None
    return next((path for path in _ACCELERATOR_FILES if os.path.exists(path)), None)


def _start_distributed() -> None:
    """Join the other processes when the JAX_COORDINATOR_ADDRESS variables say so."""
    address = os.environ.get("JAX_COORDINATOR_ADDRESS")
    if not address or jax.distributed.is_initialized():
        return
    try:
        count, index = int(os.environ["JAX_NUM_PROCESSES"]), int(os.environ["JAX_PROCESS_ID"])
    except (KeyError, ValueError) as error:
        raise ConfigError(
            f"JAX_COORDINATOR_ADDRESS={address!r} needs integers in JAX_NUM_PROCESSES and "
            "JAX_PROCESS_ID"
        ) from error
    jax.distributed.initialize(address, count, index)


@no_type_check
def configure_backend(cpu_devices: int | None = None) -> str:
    """Prepare jax for a script; call it before any array is made. Returns the backend's name.

    On the CPU jax gets `cpu_devices` devices (default: one per core). On jax 0.10 each convolution
    runs on one core, so that a sharded batch is the way to use them all; networks of matrix
    products are as fast or faster with 1. The persistent compilation cache is on. A loud warning
    says when an accelerator is there but unused.
    """
    if cpu_devices is not None:
        check_range("cpu_devices", cpu_devices, 1, MAX_CPU_DEVICES, integer=True)
    set_cpu_devices(cpu_devices or _cores())
    enable_compilation_cache()
    _start_distributed()
    trace = unused_accelerator()
    if trace is not None:
        has_plugin = any("cuda" in d.name.lower() for d in importlib.metadata.distributions())
        advice = (
            "check the driver and JAX_PLATFORMS" if has_plugin else "pip install 'gen_jax[cuda]'"
        )
        warn(f"AN ACCELERATOR IS PRESENT ({trace}) BUT JAX USES ONLY THE CPU; {advice}")
    return jax.default_backend()
