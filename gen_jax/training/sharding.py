"""One mesh, two axes: the batch is cut over both, parameters are copies or are cut over `fsdp`.

The same jitted step runs on one CPU and on many accelerators; the compiler inserts the collectives.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from gen_jax.checks import as_arrays, no_type_check
from gen_jax.errors import CheckpointError, ConfigError, check_range, shown
from gen_jax.training.console import warn
from gen_jax.types import Batch, State

BATCH_AXES = ("data", "fsdp")
MIN_SHARDED_SIZE = 2**16


@no_type_check
def make_mesh(num_devices: int | None = None, fsdp: int = 1) -> Mesh:
    """A mesh with axes ("data", "fsdp") over the first `num_devices` devices (default: all).

    `fsdp` devices share one copy of the parameters. Raises ConfigError if it does not divide the
    number of devices or if there are fewer devices than asked for.
    """
    available = jax.devices()
    count = len(available) if num_devices is None else num_devices
    check_range("num_devices", count, 1, len(available), integer=True)
    check_range("fsdp", fsdp, 1, count, integer=True)
    if count % fsdp:
        raise ConfigError(f"fsdp={fsdp} must divide the number of devices, {count}")
    return jax.make_mesh(
        (count // fsdp, fsdp),
        BATCH_AXES,
        axis_types=(AxisType.Auto,) * 2,
        devices=available[:count],
    )


def mesh_for(batch_size: int, mesh: Mesh | None = None, fsdp: bool = False) -> Mesh:
    """`mesh` if the batch divides over it, else the largest mesh over which it does.

    Raises ConfigError when a given mesh, or all devices of several processes, cannot share it.
    """
    if mesh is None and jax.process_count() == 1:
        devices = jax.device_count()
        count = max(n for n in range(1, devices + 1) if batch_size % n == 0)
        if count < devices:
            warn(f"batch_size={batch_size} does not divide over {devices} devices; using {count}")
        return make_mesh(count, count if fsdp else 1)
    mesh = make_mesh(None, jax.device_count() if fsdp else 1) if mesh is None else mesh
    if tuple(mesh.axis_names) != BATCH_AXES:
        raise ConfigError(f"mesh axes {mesh.axis_names} must be {BATCH_AXES} (see make_mesh)")
    if batch_size % mesh.size:
        raise ConfigError(f"batch_size={batch_size} must be a multiple of the {mesh.size} devices")
    return mesh


def replicated(mesh: Mesh) -> NamedSharding:
    """A copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The leading axis cut over all devices."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def place(tree: Any, where: Any) -> Any:
    """Arrays of the host, the same on every process, put on the mesh by one or many shardings."""

    def put(leaf, sharding):
        if jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key):
            data = put(jax.random.key_data(leaf), sharding)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        # Only numpy arrays may go to devices that belong to other processes.
        return jax.device_put(np.asarray(leaf), sharding)

    if isinstance(where, NamedSharding):
        return jax.tree.map(lambda leaf: put(leaf, where), tree)
    return jax.tree.map(put, tree, where)


def _check_mesh(mesh: Any) -> None:
    if not isinstance(mesh, Mesh):
        raise ConfigError(f"mesh={shown(mesh)} must be a mesh of `make_mesh`")


@no_type_check
def shard_batch(batch: Batch | dict[str, np.ndarray], mesh: Mesh) -> Any:
    """The batch with its leading axis cut over the mesh's devices."""
    batch = as_arrays("batch", batch, finite=False)
    _check_mesh(mesh)
    for name, values in batch.items():
        if np.ndim(values) == 0 or len(values) % mesh.size:
            raise ConfigError(
                f"batch {name!r} of shape {np.shape(values)} must have a leading axis that is a "
                f"multiple of the {mesh.size} devices"
            )
    return place(batch, batch_sharding(mesh))


def state_shardings(state: State, mesh: Mesh, min_size: int = MIN_SHARDED_SIZE) -> Any:
    """A sharding for every leaf of a (possibly abstract) state.

    Where the mesh has fsdp > 1, arrays of at least `min_size` elements are cut along their largest
    axis that `fsdp` divides; the rest is replicated.
    """
    ways = mesh.shape["fsdp"]

    def sharding(leaf):
        divisible = [axis for axis, size in enumerate(leaf.shape) if size % ways == 0]
        is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        if ways == 1 or is_key or leaf.size < min_size or not divisible:
            return replicated(mesh)
        largest = max(divisible, key=lambda axis: leaf.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*[None] * largest, "fsdp"))

    return jax.tree.map(sharding, state)


@no_type_check
def shard_state(state: State, mesh: Mesh, min_size: int = MIN_SHARDED_SIZE) -> State:
    """The state placed on the mesh by `state_shardings`; ConfigError for what is no state."""
    _check_mesh(mesh)
    if not all(hasattr(leaf, "shape") for leaf in jax.tree.leaves(state)):
        raise ConfigError(f"state is {shown(state)}, must be a pytree of arrays")
    check_range("min_size", min_size, 0, integer=True)
    return place(state, state_shardings(state, mesh, min_size))


def is_first() -> bool:
    """Whether this is the process that writes a run's files and prints to its user."""
    return jax.process_index() == 0


def is_alone() -> bool:
    """Whether there is one process only."""
    return jax.process_count() == 1


def gather(*values: int) -> np.ndarray:
    """The numbers of all processes, [processes, numbers]; every process must call this."""
    mine = np.array([values], np.int64)
    if is_alone():
        return mine
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(np.int32(mine), tiled=True))


def decided_by_first(decide: Callable[[], int]) -> int:
    """What `decide()` returns on process 0, on every process; only process 0 calls it.

    An error on process 0 is raised there, and as a CheckpointError on the others, so that none is
    left waiting.
    """
    value, error = 0, None
    if is_first():
        try:
            value = decide()
        except Exception as raised:
            error = raised
    failed, value = gather(error is not None, value)[0].tolist()
    if error is not None:
        raise error
    if failed:
        raise CheckpointError("process 0 could not go on; its own message says why")
    return value
