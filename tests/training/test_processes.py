"""Two processes of one job: one run directory, one decision, the same numbers as one process."""

import json
import os
import signal
import socket
import subprocess
import sys

import eight_devices
import harness
import jax
import numpy as np
import process_pair
import tiny

from gen_jax.training import restore_state, saved_steps


def start_pair(directory, **options):
    """Both processes, started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    shared = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    command = [sys.executable, process_pair.__file__, str(directory), json.dumps(options)]
    return [
        subprocess.Popen(
            command,
            env=harness.environment(**shared, JAX_PROCESS_ID=str(index)),
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]


def ended(pair) -> list[int]:
    """Exit codes of both; their messages are shown when a test fails."""
    try:
        for process in pair:
            print(process.communicate(timeout=120)[1])
        return [process.returncode for process in pair]
    finally:
        for process in pair:
            process.kill()


def test_sharded_state_is_saved_and_resumed_as_by_one_process(tmp_path):
    assert ended(start_pair(tmp_path, steps=2)) == [0, 0]
    assert saved_steps(tmp_path) == [2]
    assert ended(start_pair(tmp_path, steps=4)) == [0, 0]
    assert saved_steps(tmp_path) == [2, 4]
    assert (tmp_path / "DONE").read_text() == "4\n"
    alone = eight_devices.train_wide()
    together, step = restore_state(tmp_path, alone)
    assert step == 4
    compare = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    jax.tree.map(compare, together, alone)
    lines = [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len({line["step"] for line in lines}) == len(lines)


def test_a_signal_to_either_stops_both_at_a_saved_step(tmp_path):
    pair = start_pair(tmp_path, steps=200, save_every=100, slow=True)
    for line in pair[1].stderr:
        if line.startswith("MARK step") and int(line.split()[2]) >= 3:
            break
    os.kill(pair[1].pid, signal.SIGTERM)
    assert ended(pair) == [75, 75]
    (step,) = saved_steps(tmp_path)
    assert 3 <= step < 100
    state, _ = restore_state(tmp_path, tiny.train(steps=1))
    assert int(state.count) == step
    assert ended(start_pair(tmp_path, steps=step + 3, save_every=100, slow=True)) == [0, 0]
    together, _ = restore_state(tmp_path, state)
    alone = tiny.train(steps=step + 3)
    np.testing.assert_allclose(together.params["w"], alone.params["w"], rtol=1e-4)


def test_a_refusal_of_the_first_ends_both(tmp_path):
    tiny.train(tmp_path, steps=1)
    codes = ended(start_pair(tmp_path, steps=4, config={"path": "other"}))
    assert codes[0] == 2
    assert codes[1] != 0
