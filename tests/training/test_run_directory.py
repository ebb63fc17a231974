"""metrics.jsonl, DONE, the history of environments, and a report that needs nothing else."""

import io
import json
import re

import numpy as np
import pytest
import tiny
from PIL import Image

from gen_jax import plotting
from gen_jax.training import events, rundir, write_json, write_report
from gen_jax.training.rundir import RunDirectory
from gen_jax.types import Estimate


def records(directory):
    text = (directory / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_metrics_are_means_of_the_steps_between(tmp_path):
    tiny.train(tmp_path, steps=5, log_every=1, steps_per_call=1)
    each = [record["loss"] for record in records(tmp_path)]
    tiny.train(tmp_path / "pairs", steps=5, log_every=2, steps_per_call=5)
    pairs = records(tmp_path / "pairs")
    assert [record["step"] for record in pairs] == [2, 4, 5]
    wanted = [sum(each[:2]) / 2, sum(each[2:4]) / 2, each[4]]
    assert [record["loss"] for record in pairs] == pytest.approx(wanted, rel=1e-6)
    assert set(pairs[0]) == {"step", "loss", "norm", "steps_per_second"}


def test_metrics_are_cut_back_to_the_restored_step(tmp_path):
    """Lines after the checkpoint, and a torn last line, as a kill leaves them."""
    tiny.train(tmp_path, steps=6, log_every=1, save_every=3)
    later = json.dumps({"step": 7, "loss": 1.0})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write(later + "\n" + later[:9])
    tiny.train(tmp_path, steps=8, log_every=1, save_every=3)
    assert [record["step"] for record in records(tmp_path)] == list(range(1, 9))


def test_metrics_of_a_run_that_never_saved_are_dropped(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}\n{"step": 2, "lo')
    tiny.train(tmp_path, steps=2, log_every=1)
    assert [record["step"] for record in records(tmp_path)] == [1, 2]


def test_metrics_on_a_full_disk_cost_one_warning(tmp_path, capsys):
    """/dev/full refuses every write, as a full disk does."""
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    run = RunDirectory(tmp_path, {})
    for step in (1, 2, 3):
        run.log(step, {"loss": 1.0})
    run.close()
    lines = capsys.readouterr().err.splitlines()
    assert "metrics cannot be written (No space left on device); training goes on" in lines[0]
    assert len(lines) == 2
    assert "the last metrics are lost" in lines[1]
    RunDirectory(tmp_path, {}).close()


def events_of(path):
    """(step, value) of every summary of an event file."""
    from tensorboardX.proto.event_pb2 import Event

    content, found = path.read_bytes(), []
    while content:
        size = int.from_bytes(content[:8], "little")
        event = Event.FromString(content[12 : 12 + size])
        found += [(event.step, value) for value in event.summary.value]
        content = content[16 + size :]
    return found


def test_tensorboard_has_the_same_numbers(tmp_path):
    tiny.train(tmp_path, steps=4)
    (path,) = (tmp_path / "tensorboard").iterdir()
    losses = {step: v.simple_value for step, v in events_of(path) if v.tag == "loss"}
    wanted = {record["step"]: record["loss"] for record in records(tmp_path)}
    assert losses == pytest.approx(wanted, rel=1e-6)


def test_tensorboard_has_the_options_and_the_samples(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4, 1) * 20
    draw = lambda step: plotting.save_image(tmp_path / f"samples/step_{step:08d}.png", grey)
    options = {"config": {"colour": "blue"}, "sample_every": 2}
    tiny.train(tmp_path, steps=4, on_sample=lambda step, state: draw(step), **options)
    (first,) = (tmp_path / "tensorboard").iterdir()
    found = events_of(first)
    (text,) = [v.tensor.string_val[0].decode() for _, v in found if v.tag.startswith("config")]
    assert '"colour": "blue"' in text
    assert [step for step, v in found if v.tag == "samples"] == [2, 4]
    draw(5)
    events.add_samples(tmp_path, 5)
    (last,) = {*(tmp_path / "tensorboard").iterdir()} - {first}
    ((step, value),) = events_of(last)
    assert (step, value.image.width, value.image.height) == (5, 4, 3)
    with Image.open(io.BytesIO(value.image.encoded_image_string)) as picture:
        assert np.array_equal(np.asarray(picture), grey[:, :, 0])


def test_done_is_there_only_after_the_end(tmp_path):
    seen = []
    tiny.train(tmp_path, steps=3)
    assert (tmp_path / "DONE").read_text() == "3\n"
    look = lambda step, state: seen.append((tmp_path / "DONE").exists())
    tiny.train(tmp_path, steps=5, sample_every=1, on_sample=look)
    assert seen == [False, False]
    assert (tmp_path / "DONE").read_text() == "5\n"


def test_changed_environment_warns_and_is_remembered(tmp_path, monkeypatch, capsys):
    RunDirectory(tmp_path, {}).close()
    first = json.loads((tmp_path / "environment.json").read_text())
    changed = {**rundir.environment(), "python": "2.7.18", "devices": ["abacus"]}
    monkeypatch.setattr(rundir, "environment", lambda: changed)
    RunDirectory(tmp_path, {}).close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("warning: devices changed since this run began: ")
    assert lines[1].endswith("-> 2.7.18")
    now = json.loads((tmp_path / "environment.json").read_text())
    assert now["python"] == "2.7.18"
    assert [past["python"] for past in now["history"]] == [first["python"]]


def test_report_needs_nothing_and_escapes_markup(tmp_path, no_report):
    """Every address in the page is embedded data; a name that is markup stays text."""
    no_report()
    directory = tmp_path / "a<b>&'c'"
    config = {"name": "</pre><script>alert(1)</script>", "quote": '"><img src=http://x>'}
    picture = directory / "samples" / "step_<i>.png"
    on_sample = lambda step, state: picture.write_bytes(b"\x89PNG")
    tiny.train(directory, steps=4, config=config, sample_every=4, on_sample=on_sample)
    page = (directory / "report.html").read_text()
    addresses = re.findall(
        r"(?:src|href|action)\s*=\s*[\"']?([^\"'\s>]*)", page.split("<h2>Config")[0]
    )
    assert len(addresses) == 2
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert not re.search(r"<(script|link|iframe|i|b)\b|@import|url\(", page)
    assert "&lt;script&gt;" in page
    assert "<title>a&lt;b&gt;" in page
    report = json.loads((directory / "report.json").read_text())
    assert (report["step"], report["steps_here"]) == (4, 4)
    assert 0 < report["cpu_seconds"] < 300 > report["wall_seconds"] > report["seconds"] > 0


def test_a_report_written_again_has_the_last_samples_and_the_evaluation(tmp_path):
    (tmp_path / "samples").mkdir()
    write_report(tmp_path, {"step": 9})
    for step in range(9):
        (tmp_path / "samples" / f"step_{step:08d}.txt").write_text(f"text <{step}>")
    (tmp_path / "samples" / "step_00000009.png").write_bytes(b"\x89PNG")
    numbers = {"frechet": Estimate(1.234, 0.05), "step": 9, "bits": float("nan"), "odd": [1, 2]}
    write_json(tmp_path / "evaluation.json", numbers)
    page = write_report(tmp_path).read_text()
    assert "<h2>Evaluation" in page
    rows = {"frechet": "1.234 +- 0.050", "step": "9", "bits": "None", "odd": "[1, 2]"}
    assert all(f"<td>{name}</td><td>{text}</td>" in page for name, text in rows.items())
    assert "text &lt;0&gt;" in page
    assert page.count("data:image/png;base64,") == 1
    assert page.count("<p>step_") == 6
    assert json.loads((tmp_path / "report.json").read_text()) == {"step": 9}
    (tmp_path / "evaluation.json").write_text("[" * 100_000)
    assert "<h2>Evaluation" not in write_report(tmp_path).read_text()


def test_report_of_a_run_that_has_little(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    assert "<h2>Configuration" in write_report(tmp_path, {"a": float("nan")}).read_text()
    assert json.loads((tmp_path / "report.json").read_text()) == {"a": None}
