"""The page of blind pairs: its answers are masked, its choices are scored, a browser runs it."""

import base64
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from experiments.shared import blind_pairs
from gen_jax.data import DatasetSpec

SPEC = DatasetSpec("made", "images", (4, 4, 1), "uint8", 0, 0.0, 1.0, 9, 9)
N = 30
REAL, GENERATED = np.zeros((2, N, 4, 4, 1), np.uint8)
GENERATED = GENERATED + 200


@pytest.fixture
def page(tmp_path):
    path = blind_pairs.write_page(tmp_path / "a.html", SPEC, REAL, GENERATED, "a <run>")
    return path.read_text()


def constant(page, name):
    return json.loads(re.search(rf"const {name} = (.*);\n", page)[1])


def sides_of(page):
    """Which side is bright, from the pictures themselves."""
    bright = []
    for pair in constant(page, "pairs"):
        data = [re.search(r"base64,([^\"]+)", part)[1] for part in pair]
        grey = [np.asarray(Image.open(io.BytesIO(base64.b64decode(d)))).mean() for d in data]
        bright.append(int(grey[1] > grey[0]))
    return np.array(bright)


def write(tmp_path, page, choices):
    path = tmp_path / "choices.json"
    path.write_text(json.dumps({**constant(page, "stored"), "choices": choices}))
    return path


def test_a_scripted_reader_gets_the_share_and_its_interval(command, tmp_path, page):
    """Right in 21 of 28 pairs, two left out: the intervals are scipy's."""
    choices = [int(side) for side in sides_of(page)]
    choices[:7] = [1 - side for side in choices[:7]]
    choices[-2:] = [None, None]
    path = write(tmp_path, page, choices)
    found = blind_pairs.score(blind_pairs.read_choices(path))
    assert (found["pairs"], found["choices"], found["right"]) == (N, 28, 21)
    test = binomtest(21, 28, alternative="greater")
    assert found["p_value_of_guessing"] == pytest.approx(test.pvalue)
    for method, name in (("exact", "clopper_pearson"), ("wilson", "wilson")):
        wanted = binomtest(21, 28).proportion_ci(method=method)
        assert found[name] == pytest.approx([wanted.low, wanted.high])
    ended = command("human", "--score", path)
    assert ended.code == 0
    assert re.search(r"rate +0\.75\n", ended.out)
    assert re.search(r"clopper_pearson +0\.5513 to 0\.8931\n", ended.out)


def test_sides_are_a_fair_coin_and_are_not_in_the_page(tmp_path, page):
    """Of 30 coins fewer than 4 or more than 26 fall on one side with probability 9e-6."""
    sides = sides_of(page)
    assert 4 <= sides.sum() <= 26
    stored = constant(page, "stored")
    assert np.array_equal(blind_pairs.unmask(stored, N), sides)
    plain = np.packbits(sides.astype(np.uint8)).tobytes().hex()
    assert plain not in page
    again = blind_pairs.write_page(tmp_path / "b.html", SPEC, REAL, GENERATED, "again").read_text()
    assert not np.array_equal(sides_of(again), sides)


def test_the_page_asks_nothing_of_other_machines(page):
    assert "a &lt;run&gt;" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": "00"}, "answers"),
        ({"salt": 3}, "answers"),
        ({"choices": [0]}, "0, 1 or null"),
        ({"choices": [2] * N}, "0, 1 or null"),
        ({"choices": ["0"] * N}, "0, 1 or null"),
        ({"choices": [True] * N}, "0, 1 or null"),
        ({"choices": [None] * N}, "no pair has a choice"),
        ({"format": "x"}, "not saved by a page"),
    ],
)
def test_other_files_are_refused(command, tmp_path, page, change, message):
    path = tmp_path / "choices.json"
    path.write_text(json.dumps({**constant(page, "stored"), "choices": [0] * N, **change}))
    ended = command("human", "--score", path)
    assert (ended.code, ended.err.count("\n")) == (3, 1)
    assert message in ended.err


def test_nested_choices_are_one_line(command, tmp_path):
    path = tmp_path / "choices.json"
    path.write_text("[" * 100_000)
    ended = command("human", "--score", path)
    assert (ended.code, ended.err.count("\n")) == (3, 1)


def test_what_cannot_be_judged_is_refused(command, points_run, tmp_path):
    for words, message in (
        ((), "give one of them"),
        ((points_run, "--score", "a.json"), "give one of them"),
        ((points_run,), "nobody can judge"),
        (("--score", tmp_path / "none.json"), "cannot be read"),
    ):
        ended = command("human", *words)
        assert ended.code in (2, 3)
        assert message in ended.err


def test_a_run_is_put_on_a_page_with_its_labels_beside_their_like(command, digits_run):
    ended = command("human", digits_run, "--num", 6)
    assert ended.code == 0, ended.err
    text = (digits_run / "human.html").read_text()
    assert len(constant(text, "pairs")) == 6
    assert text.count("data:image/png") == 12


KEYS = """
for (const key of ["ArrowLeft", "ArrowRight", "ArrowLeft", "Backspace", "ArrowRight"])
  document.dispatchEvent(new KeyboardEvent("keydown", { key }));
get("left").onclick();
document.title = saved();
"""
CHOSEN = [0, 1, 1, 0]
"""What KEYS choose: the third pair, left at first, is chosen again."""

STUB = """
const made = {}, listeners = [];
globalThis.KeyboardEvent = class {
  constructor(type, fields) { Object.assign(this, fields) }
  preventDefault() {}
};
globalThis.document = {
  getElementById: (name) => (made[name] ??= { style: {} }),
  addEventListener: (kind, f) => listeners.push(f),
  dispatchEvent: (event) => listeners.forEach((f) => f(event)),
};
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="no node on this machine")
def test_the_script_takes_keys_and_clicks(page):
    """With an element of nothing but its name in the place of a browser's."""
    script = re.search(r"<script>(.*)</script>", page, re.S)[1]
    after = "console.log(made.count.textContent); console.log(document.title);"
    ended = subprocess.run(
        ["node", "-"],
        input=STUB + script + KEYS + after,
        capture_output=True,
        text=True,
        timeout=60,
    )
    count, saved = ended.stdout.strip().split("\n")
    assert count == f"pair 5 of {N}, 4 chosen", ended.stderr
    assert json.loads(saved)["choices"] == CHOSEN + [None] * (N - 4)


@pytest.mark.slow
def test_a_browser_takes_keys_and_clicks(tmp_path, page):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if browser is None:
        pytest.skip("no Chromium on this machine")
    (tmp_path / "a.html").write_text(page.replace("</script>", f"{KEYS}</script>"))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000"]
    ended = subprocess.run(
        [browser, *flags, "--dump-dom", (tmp_path / "a.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert f"pair 5 of {N}, 4 chosen" in ended.stdout
    assert '"choices":[0,1,1,0,null' in ended.stdout
