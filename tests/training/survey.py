"""Kills, damages, signals, edges and doors in number, counted: tried, right.

    python tests/training/survey.py --kills 100 --output survey.json

Every run is a process of its own, forked from one that has imported jax but not used it, so that a
kill costs a second. A kill is right when every step that was said to be saved verifies, and a
second process ends on the bits, the logged means and the best step of a run that nothing disturbed.
A damage is right when readers give the bits of a sound step with a warning, or a CheckpointError.
Edges and doors are the cases of the tests that EDGES and DOORS name; a mistake at a function, or a
damaged callable, is right when one line names it (tests/wrong_calls, wrong_fits, damaged).
"""

import argparse
import functools
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import harness
import jax
import numpy as np
import tiny
from counted import cases, mistakes, record_of

from gen_jax import training
from gen_jax.data import batch_indices
from gen_jax.errors import CheckpointError
from gen_jax.training import events, session
from gen_jax.training.checkpoint import saved_steps
from gen_jax.training.console import bar_here, mark
from gen_jax.training.identity import read_config
from gen_jax.training.manifest import verify
from gen_jax.training.restoring import identity_in

PLAN = {"steps": 24, "save_every": 3, "keep": 2, "steps_per_call": 1, "log_every": 5}
SPOTS = ("start", "step", "save", "commit", "saved", "evaluate", "numbers", "sample", "clean")
EDGES = ("edges", "streams", "odd_files", "moved", "disk_full")
DOORS = ("experiments/test_bad_input.py", "training/test_refusals.py")
SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGXCPU")


def evaluate(step, state):
    mark("evaluate", step)
    return {"score": float(-abs(step - 9))}


def train(directory, nap=0.0):
    """A run with every hook; step 9 is the best."""

    def on_sample(step, state):
        mark("sample", step)
        time.sleep(nap)

    session.write_report = lambda path, numbers: None
    hooks = {"evaluate": evaluate, "best": ("score", "max")}
    return tiny.train(directory, sample_every=2, on_sample=on_sample, **hooks, **PLAN)


def train_only(directory, nap=0.0):
    train(directory, nap)


def train_and_look(directory):
    train(directory)
    return outcome(directory)


def digest(state) -> str:
    return hashlib.sha256(repr(tiny.bits(state)).encode()).hexdigest()


def outcome(directory) -> list:
    """What must not depend on what happened on the way: bits, steps, best step, logged means."""
    batch = {"x": tiny.data()["x"][: tiny.BATCH]}
    template = jax.eval_shape(lambda: tiny.model().init(jax.random.key(0), batch))
    state, step = training.restore_state(directory, template)
    best = training.restore_state(directory, template, step="best")[1]
    records = map(json.loads, (Path(directory) / "metrics.jsonl").read_text().splitlines())
    means = [[r["step"], r["loss"], r["norm"]] for r in records if "loss" in r]
    return [digest(state), step, saved_steps(Path(directory)), best, means]


def forked(work, name="never", least=0, number=signal.SIGKILL, delay=0.0):
    """Call `work()` in a child, which gets a signal at a marker.

    Returns (exit code, or minus the signal; lines of stderr; what `work` returned).
    """
    (read_end, write_end), result = os.pipe(), tempfile.mktemp()
    child = os.fork()
    if child == 0:
        os.dup2(write_end, 2)
        try:
            value = work()
            Path(result).write_text(json.dumps(value))
            os._exit(0)
        except BaseException as error:
            if not hasattr(error, "exit_code"):
                traceback.print_exc()
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(getattr(error, "exit_code", 1))
    os.close(write_end)
    lines, hit = [], False
    with os.fdopen(read_end) as stream:
        for line in stream:
            lines.append(line.rstrip("\n"))
            words = lines[-1].split()
            if not hit and words[:2] == ["MARK", name] and int(words[2]) >= least:
                hit = True
                time.sleep(delay)
                os.kill(child, number)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    value = json.loads(Path(result).read_text()) if code == 0 else None
    Path(result).unlink(missing_ok=True)
    return code, lines, value


def whole_steps(directory) -> list[int]:
    """Steps that are there, all of them verified. Raises CheckpointError."""
    identity = identity_in(directory) if saved_steps(directory) else None
    for step in saved_steps(directory):
        verify(directory / "checkpoints" / str(step), identity)
    return saved_steps(directory)


def kills(folder, count, wanted):
    """SIGKILL at a marker, after a short while; a second process ends the run."""
    draw, right = random.Random(count), 0
    for number in range(count):
        directory, name = folder / f"kill-{number}", SPOTS[number % len(SPOTS)]
        least = 0 if name == "start" else draw.randint(1, 15)
        delay = draw.choice((0.0, 0.001, 0.003, 0.01, 0.05))
        begin, end = (functools.partial(f, directory) for f in (train_only, train_and_look))
        code, lines, _ = forked(begin, name, least, delay=delay)
        kept = max([0, *whole_steps(directory)]) >= harness.acknowledged(lines)
        ended, more, found = forked(end)
        good = code == -signal.SIGKILL and kept and ended == 0 and found == wanted
        right += good
        if not good:
            print(number, name, least, delay, code, kept, ended, more[-3:], found, flush=True)
        shutil.rmtree(directory)
        if (number + 1) % 10 == 0:
            print(f"kills: {right} of {number + 1}", flush=True)
    return {"tried": count, "right": right}


def signals(folder, wanted):
    """Each signal at a step and in a hook: saved, 75, and the same end after resuming."""
    tried = right = 0
    for name in SIGNALS:
        for spot in ("step", "sample", "evaluate"):
            directory = folder / f"{name}-{spot}"
            begin = functools.partial(train_only, directory, nap=0.05)
            code, lines, _ = forked(begin, spot, 7, getattr(signal, name))
            saved = max([0, *whole_steps(directory)])
            ended, _, found = forked(functools.partial(train_and_look, directory))
            good = code == 75 and saved >= 7 and ended == 0 and found == wanted
            tried, right = tried + 1, right + good
            if not good:
                print(name, spot, code, saved, ended, lines[-2:], flush=True)
    return {"tried": tried, "right": right}


def flip(where, path):
    content = bytearray(path.read_bytes())
    content[min(int(len(content) * where), len(content) - 1)] ^= 1
    path.write_bytes(bytes(content))


FILE_DAMAGES = {
    **{f"bit at {where}": functools.partial(flip, where) for where in (0.0, 0.3, 0.7, 1.0)},
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "missing": lambda path: path.unlink(),
}


def rename(old, new, run):
    (run / "checkpoints" / old).rename(run / "checkpoints" / new)


def put(folder, name, run):
    """A step of another run, in place of one's own or beside them."""
    shutil.rmtree(run / "checkpoints" / name, ignore_errors=True)
    shutil.copytree(folder, run / "checkpoints" / name)


def write_config(text, run):
    (run / "config.json").write_text(text)


def identity_damages(run, other):
    """name -> harm(copy): what is whole but does not belong: steps, runs, config.json."""
    first, last = (str(saved_steps(run)[i]) for i in (0, -1))
    text, foreign = (run / "config.json").read_text(), other / "checkpoints" / last
    result = {
        "renamed": functools.partial(rename, last, "99"),
        "older renamed": functools.partial(rename, first, "98"),
        "foreign newer": functools.partial(put, foreign, "97"),
        "foreign in place": functools.partial(put, foreign, last),
        "foreign renamed": functools.partial(put, foreign, first),
        "foreign config.json": functools.partial(write_config, (other / "config.json").read_text()),
        "no config.json": lambda run: (run / "config.json").unlink(),
    }
    for odd in ("null", "{}", "[]", "0", '"x"', "{", '{"fit": {}}', "[" * 100_000):
        result[f"config.json {odd[:12]}"] = functools.partial(write_config, odd)
    for found in re.finditer(r"\d", text):
        digit = str((int(found[0]) + 1) % 10)
        changed = text[: found.start()] + digit + text[found.end() :]
        result[f"digit {found.start()}"] = functools.partial(write_config, changed)
    return result


def silent(directory, template, sound) -> bool:
    """Whether some reader gives a state that is none of the sound ones under their steps."""
    wrong = False
    for step in (None, "best", *saved_steps(directory)):
        try:
            read_config(directory)
            state, given = training.restore_state(directory, template, step=step)
        except CheckpointError:
            continue
        wrong |= sound.get(given) != digest(state)
    try:
        train(directory)
    except CheckpointError:
        return wrong
    return wrong or digest(training.restore_state(directory, template)[0]) != sound[PLAN["steps"]]


def damages(folder):
    """Damage one thing in a copy of a finished run; then read it in every way, and resume it."""
    run, other = folder / "run", folder / "other"
    template = train(run)
    train(other)
    sound = {
        step: digest(training.restore_state(run, template, step=step)[0])
        for step in saved_steps(run)
    }
    counts = {"files": [0, 0], "identity": [0, 0]}

    def attempt(kind, name, place, harm):
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        harm(copy / place)
        good = not silent(copy, template, sound)
        counts[kind][0] += 1
        counts[kind][1] += good
        if not good:
            print(kind, name, flush=True)

    newest = run / "checkpoints" / str(saved_steps(run)[-1])
    for path in sorted(path for path in newest.rglob("*") if path.is_file()):
        place, damages = path.relative_to(run), FILE_DAMAGES
        if not path.stat().st_size:
            damages = {name: FILE_DAMAGES[name] for name in ("longer", "missing")}
        for name, harm in damages.items():
            attempt("files", f"{place} {name}", place, harm)
    for name, harm in identity_damages(run, other).items():
        attempt("identity", name, Path(), harm)
    return {kind: {"tried": tried, "right": right} for kind, (tried, right) in counts.items()}


def warm():
    """What every child would import and trace again; jax must not start its threads before."""
    events._tensorboardx()
    bar_here()

    def once(seed, x):
        key = jax.random.key(seed)
        batch = {"x": x[batch_indices(key, seed, len(tiny.data()["x"]), tiny.BATCH) % len(x)]}
        return tiny.model().step(key, tiny.model().init(key, batch), batch)

    jax.eval_shape(once, np.int32(0), tiny.data()["x"][: tiny.BATCH])


def main() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it, and children inherit that
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parts = ("signals", "damages", "mistakes", "edges", "doors", "kills")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    os.environ["GEN_JAX_MARKERS"] = "1"
    jax.config.update("jax_platforms", "cpu")
    jax.config.update(
        "jax_compilation_cache_dir", harness.environment()["JAX_COMPILATION_CACHE_DIR"]
    )
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warm()
        unbroken = folder / "unbroken"
        code, lines, wanted = forked(lambda: train_and_look(unbroken))
        assert code == 0, lines
        result = {}

        def record(**parts):
            result.update(parts)
            found = record_of(sys.argv[1:], result)
            options.output.write_text(json.dumps(found, indent=1) + "\n")
            print(parts, flush=True)

        if "signals" in options.parts:
            record(signals=signals(folder, wanted))
        if "damages" in options.parts:
            code, lines, found = forked(lambda: damages(folder))
            shown = [line for line in lines if not line.startswith(("MARK", "warning"))]
            print(*shown, sep="\n", flush=True)
            if found is None:
                sys.exit(f"the damages ended with exit code {code}")
            record(**{f"damages of {kind}": count for kind, count in found.items()})
        if "mistakes" in options.parts:
            code, lines, found = forked(mistakes)
            print(*lines[-20:], sep="\n", flush=True)
            record(**found)
        if "edges" in options.parts:
            paths = [f"tests/training/test_{name}.py" for name in EDGES]
            record(edges=cases(folder, *paths))
        if "doors" in options.parts:
            record(doors=cases(folder, *(f"tests/{name}" for name in DOORS)))
        if "kills" in options.parts:
            record(kills=kills(folder, options.kills, wanted))


if __name__ == "__main__":
    main()
