"""Every way to damage the newest checkpoint ends in a fall-back or an error, never in numbers."""

import shutil

import jax
import pytest
import tiny

from gen_jax import training
from gen_jax.errors import CheckpointError
from gen_jax.training.checkpoint import Checkpoints, saved_steps

STATES = {step: {"w": jax.random.normal(jax.random.key(step), (64,))} for step in (1, 2)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A directory with steps 1 and 2."""
    directory = tmp_path_factory.mktemp("saved")
    checkpoints = Checkpoints(directory, keep=2)
    for step, state in STATES.items():
        checkpoints.save(step, state, {"score": float(step)})
    checkpoints.wait()
    return directory


def copy_of(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "run")


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path, where=0.5):
    content = bytearray(path.read_bytes())
    content[int(len(content) * where)] ^= 1
    path.write_bytes(bytes(content))


def append(path):
    path.write_bytes(path.read_bytes() + b"\0")


def is_set_aside(directory):
    names = {path.name for path in (directory / "checkpoints").iterdir()}
    return names == {"1", "2.damaged"}


def restore(directory):
    return Checkpoints(directory, keep=2).restore(STATES[1])


def test_every_file_damaged_in_every_way(saved, tmp_path, capsys):
    """About 45 damages; for each the state of step 1, one warning, and the step set aside."""
    folder = saved / "checkpoints" / "2"
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    assert {"manifest.json", "state/_METADATA"} <= {str(name) for name in names}
    for number, name in enumerate(names):
        empty = not (folder / name).stat().st_size
        for harm in (append,) if empty else (truncate, flip, lambda path: path.unlink()):
            directory = shutil.copytree(saved, tmp_path / f"{number}{harm.__name__}")
            harm(directory / "checkpoints" / "2" / name)
            state, step = restore(directory)
            assert (step, tiny.bits(state)) == (1, tiny.bits(STATES[1])), (name, harm)
            assert is_set_aside(directory), (name, harm)
            lines = capsys.readouterr().err.splitlines()
            assert len(lines) == 1, lines
            assert "falling back" in lines[0]


def test_every_part_of_the_manifest_counts(saved, tmp_path):
    """A bit flipped anywhere in the manifest: noticed, unless it leaves the content as it is."""
    wanted = {step: tiny.bits(state) for step, state in STATES.items()}
    for tenth in range(1, 40):
        directory = shutil.copytree(saved, tmp_path / str(tenth))
        flip(directory / "checkpoints" / "2" / "manifest.json", tenth / 40)
        state, step = restore(directory)
        assert tiny.bits(state) == wanted[step]


def test_changed_number_in_the_manifest_is_noticed(saved, tmp_path):
    """Valid JSON with another score would choose another best step."""
    directory = copy_of(saved, tmp_path)
    path = directory / "checkpoints" / "2" / "manifest.json"
    text = path.read_text()
    path.write_text(text.replace('"score": 2.0', '"score": 0.0'))
    assert path.read_text() != text
    assert restore(directory)[1] == 1


def test_step_without_manifest_falls_back(saved, tmp_path):
    directory = copy_of(saved, tmp_path)
    (directory / "checkpoints" / "2" / "manifest.json").unlink()
    assert restore(directory)[1] == 1
    assert is_set_aside(directory)


def test_all_damaged_is_an_error_again_and_again(saved, tmp_path):
    directory = copy_of(saved, tmp_path)
    for step in (1, 2):
        flip(directory / "checkpoints" / str(step) / "manifest.json")
    with pytest.raises(CheckpointError, match=r"all checkpoints \[1, 2\] are damaged"):
        restore(directory)
    with pytest.raises(CheckpointError, match=r"only damaged checkpoints \(1.damaged, 2.damaged\)"):
        restore(directory)


def test_fit_does_not_restart_in_silence(tmp_path):
    tiny.train(tmp_path, steps=3)
    flip(tmp_path / "checkpoints" / "3" / "manifest.json")
    for _ in range(2):
        with pytest.raises(CheckpointError, match="damaged"):
            tiny.train(tmp_path, steps=6)


def test_reading_a_run_changes_nothing_in_it(saved, tmp_path, capsys):
    """`restore_state`, as for sampling, warns about damage but renames nothing."""
    directory = copy_of(saved, tmp_path)
    flip(directory / "checkpoints" / "2" / "manifest.json")
    assert training.restore_state(directory, STATES[1])[1] == 1
    assert saved_steps(directory) == [1, 2]
    assert "warning" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        training.restore_state(directory, STATES[1], step=2)
    with pytest.raises(CheckpointError, match=r"no step 5 \(saved: \[1, 2\]\)"):
        training.restore_state(directory, STATES[1], step=5)
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        training.restore_state(tmp_path, STATES[1])


def test_damaged_names_do_not_collide(saved, tmp_path):
    directory = copy_of(saved, tmp_path)
    (directory / "checkpoints" / "2.damaged").mkdir()
    flip(directory / "checkpoints" / "2" / "manifest.json")
    assert restore(directory)[1] == 1
    assert (directory / "checkpoints" / "2.damaged-1" / "manifest.json").exists()


def test_leftovers_are_cleaned(tmp_path):
    """Of a save and of a removal that were cut short; a run with nothing else starts anew."""
    for name in ("saving-3/state.orbax-checkpoint-tmp", "trash-1/state"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert restore(tmp_path) is None
    assert not list((tmp_path / "checkpoints").iterdir())


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            {"w": jax.ShapeDtypeStruct((64,), "bfloat16")},
            r"\['w'\] is float32\[64\].*bfloat16\[64\]",
        ),
        (
            {"w": jax.ShapeDtypeStruct((8, 8), "float32")},
            r"\['w'\] is float32\[64\].*float32\[8, 8\]",
        ),
        ({"v": jax.ShapeDtypeStruct((64,), "float32")}, r"\['v'\] is absent in the checkpoint"),
        ({}, r"\['w'\] is float32\[64\] in the checkpoint and absent in the model"),
    ],
)
def test_another_form_is_an_error_not_a_cast(saved, template, message):
    with pytest.raises(CheckpointError, match=message):
        training.restore_state(saved, template)


@pytest.mark.parametrize(("rule", "kept"), [("min", 2), ("max", 3)])
def test_best_is_kept_and_restored(tmp_path, rule, kept):
    """Scores 3, 1, 4, 2, 3 (and one that is not a number): the extreme is kept besides the last."""
    scores = dict(enumerate([3.0, 1.0, 4.0, 2.0, float("nan"), 3.0], 1))
    state = tiny.train(
        tmp_path,
        steps=6,
        save_every=1,
        keep=1,
        evaluate=lambda step, state: {"score": scores[step]},
        best=("score", rule),
    )
    assert saved_steps(tmp_path) == [kept, 6]
    best, step = training.restore_state(tmp_path, state, step="best")
    assert (step, int(best.count)) == (kept, kept)
    flip(tmp_path / "checkpoints" / "6" / "manifest.json")
    assert training.restore_state(tmp_path, state, step="best")[1] == kept


def test_best_survives_a_resume(tmp_path):
    options = {"save_every": 1, "keep": 1, "best": ("score", "min")}
    tiny.train(tmp_path, steps=3, evaluate=lambda step, state: {"score": abs(step - 2)}, **options)
    tiny.train(tmp_path, steps=5, evaluate=lambda step, state: {"score": step}, **options)
    assert saved_steps(tmp_path) == [2, 5]


def test_best_needs_its_number(tmp_path):
    from gen_jax.errors import ConfigError

    with pytest.raises(ConfigError, match="needs evaluate"):
        tiny.train(tmp_path, best=("score", "min"))
    with pytest.raises(ConfigError, match="smallest"):
        tiny.train(tmp_path, best=("score", "smallest"), evaluate=lambda step, state: {})
    with pytest.raises(ConfigError, match="score"):
        tiny.train(tmp_path, best=("score", "min"), evaluate=lambda step, state: {"loss": 1.0})


def test_last_k_are_kept(tmp_path):
    tiny.train(tmp_path, steps=10, save_every=2, keep=3)
    assert saved_steps(tmp_path) == [6, 8, 10]
    with pytest.raises(CheckpointError, match="no best checkpoint"):
        training.restore_state(tmp_path, None, step="best")
