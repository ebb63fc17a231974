"""One device and eight (simulated): the same numbers to rounding, and checkpoints that move."""

import json
import subprocess
import sys

import eight_devices
import harness
import jax
import numpy as np
import pytest
import tiny

from gen_jax import training
from gen_jax.errors import ConfigError


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    """What a process with eight devices saw, and its directory."""
    directory = tmp_path_factory.mktemp("eight")
    ended = subprocess.run(
        [sys.executable, eight_devices.__file__, str(directory)],
        env=harness.environment(GEN_JAX_MARKERS="0"),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout.splitlines()[-1])
    return {**seen, "stderr": ended.stderr, "directory": directory}


def test_all_devices_are_used_by_default(eight):
    assert (eight["devices"], eight["used"]) == (8, 8)


def test_equal_bits_on_the_same_devices(eight):
    assert eight["again"]


def test_equal_to_rounding_on_one_and_eight(eight):
    """Twelve noisy steps; rounding is about 1e-7 a step. A mean that is a sum is off by 8."""
    state = tiny.train()
    np.testing.assert_allclose(eight["w"], state.params["w"], rtol=0, atol=2e-6)


def test_batch_that_does_not_divide(eight):
    """Without a mesh fewer devices and a warning; with one, or with other axes, a refusal."""
    assert eight["used_by_batch_of_6"] == 6
    assert "batch_size=6 does not divide over 8 devices; using 6" in eight["stderr"]
    assert eight["refused"] == "batch_size=6 must be a multiple of the 4 devices"
    assert "mesh axes ('x',) must be ('data', 'fsdp')" in eight["refused_mesh"]


def test_large_arrays_are_sharded(eight):
    """Weight and momentum along the axis of 512; the small bias is a copy on each device."""
    assert eight["specs"]["w"] == eight["specs"]["momentum"] == ["fsdp"]
    assert eight["specs"]["bias"] == []
    assert eight["shard"] == [64, 256]


def test_sharded_checkpoint_restores_on_one_device(eight):
    directory = eight["directory"] / "wide"
    template = eight_devices.train_wide()
    restored, step = training.restore_state(directory, template)
    assert step == 4
    for name, leaf in restored.items():
        assert leaf.sharding.device_set == {jax.devices()[0]}
        np.testing.assert_allclose(leaf, template[name], rtol=0, atol=2e-6)


def test_run_goes_on_with_other_devices(eight, capsys):
    """From eight devices to one: a warning, and the numbers of an unbroken run to rounding."""
    state = tiny.train(eight["directory"] / "tiny", steps=16)
    assert "devices changed since this run began" in capsys.readouterr().err
    wanted = tiny.train(steps=16)
    np.testing.assert_allclose(state.params["w"], wanted.params["w"], rtol=0, atol=2e-6)


@pytest.mark.parametrize(("devices", "fsdp"), [(0, 1), (99, 1), (1, 2)])
def test_meshes_that_cannot_be(devices, fsdp):
    with pytest.raises(ConfigError, match="num_devices|fsdp"):
        training.make_mesh(devices, fsdp)
