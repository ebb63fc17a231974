"""Wrong calls of the functions of `training`."""

import jax.numpy as jnp

from gen_jax import training
from wrong_calls.common import X, at

MESH = training.make_mesh(1)
CALLS = {
    "configure_backend": [("cpu_devices", at(training.configure_backend, n)) for n in (0, "2")],
    "set_cpu_devices": [("count", at(training.set_cpu_devices, n)) for n in (0, 1.5)],
    "make_mesh": [
        ("num_devices", at(training.make_mesh, 0)),
        ("num_devices", at(training.make_mesh, 10**6)),
        ("fsdp", at(training.make_mesh, 1, 2)),
    ],
    "shard_batch": [
        ("batch", at(training.shard_batch, X, MESH)),
        ("batch", at(training.shard_batch, {"x": 3.0}, MESH)),
        ("mesh", at(training.shard_batch, {"x": X}, 3)),
    ],
    "shard_state": [
        ("mesh", at(training.shard_state, {"w": X}, None)),
        ("min_size", at(training.shard_state, {"w": X}, MESH, -1)),
        ("state", at(training.shard_state, {"w": "a"}, MESH)),
    ],
    "restore_state": [
        ("directory", at(training.restore_state, None, {})),
        ("step", at(training.restore_state, "nowhere", {}, "last")),
        ("step", at(training.restore_state, "nowhere", {}, 1.5)),
        ("on_damage", at(training.restore_state, "nowhere", {}, None, "warn")),
    ],
    "check_writable": [("output", at(training.check_writable, "output", None))],
    "write_json": [("path", at(training.write_json, 3, {}))],
    "read_config": [
        ("directory", at(training.read_config, None)),
        ("nowhere", at(training.read_config, "nowhere")),
    ],
    "start_from": [
        ("initial", at(training.start_from, jnp.zeros(3), jnp.zeros(4))),
        ("initial", at(training.start_from, {"w": jnp.zeros(3)}, {"v": jnp.zeros(3)})),
        ("initial", at(training.start_from, (jnp.zeros(3),), None)),
    ],
    "check_same_run": [("path", at(training.check_same_run, 3))],
    "saved_steps": [("directory", at(training.saved_steps, None))],
    "write_report": [
        ("directory", at(training.write_report, 3)),
        ("directory", at(training.write_report, "nowhere/at/all")),
        ("numbers", at(training.write_report, ".", [1])),
    ],
    "run_main": [("main", at(training.run_main, None))],
}
