"""Windows of tokens, vocabularies there and back, and texts that will not do."""

import os
import sys

import numpy as np
import pytest

from gen_jax.data import DatasetSpec, Vocabulary, describe, load, text
from gen_jax.errors import ConfigError, DataError

STORY = "".join(f"Line {i}: a cat, naïve, sat on {i * i} mats…\n" for i in range(200))


@pytest.fixture
def story(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text(STORY, encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", ["", "@300"])
def test_windows_are_the_text(story, suffix):
    """Test windows do not overlap; train windows start every 16 tokens; the two share nothing."""
    name = f"text:{story}{suffix}"
    spec = describe(name)
    vocabulary = Vocabulary.from_json(DatasetSpec.from_dict(spec.to_dict()).vocabulary)
    train, test = (load(name, split)["x"] for split in ("train", "test"))
    assert train.dtype == np.int32
    border = len(STORY) * 9 // 10
    assert STORY[border:].startswith(vocabulary.decode(test.reshape(-1)).rstrip("\ufffd"))
    np.testing.assert_array_equal(train[1, : -text.STRIDE], train[0, text.STRIDE :])
    assert STORY.startswith(vocabulary.decode(train[0]).rstrip("\ufffd"))
    assert vocabulary.size == (300 if suffix else len(set(STORY)))
    assert train.max() < vocabulary.size
    assert vocabulary.decode(vocabulary.encode("a cat, naïve")) == "a cat, naïve"


def test_the_bundled_text_is_whole():
    vocabulary = Vocabulary.from_json(describe("genesis").vocabulary)
    first = vocabulary.decode(load("genesis")["x"][0])
    assert first.startswith("In the beginning God created the heaven and the earth.\n")
    lines = text.GENESIS.read_text(encoding="utf-8").split("\n")
    assert sum(line != "" for line in lines) == 1533  # verses
    assert sum(line == "" for line in lines) == 50  # 49 between chapters, one at the end


def test_byte_pairs_have_tokens_for_every_text():
    vocabulary = Vocabulary.from_json(describe("genesis_pairs").vocabulary)
    strange = "Ω ≠ 42\t{}"
    assert vocabulary.decode(vocabulary.encode(strange)) == strange
    assert len(vocabulary.encode("the beginning")) < 6


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda v: v.encode("a ~ b #"), "'#~'"),
        (lambda v: v.decode(np.array([0, 99_999])), "99999"),
        (lambda v: v.decode(np.array([-1])), "-1"),
        (lambda v: text.prompt_tokens(v, "God " * 40, 128), "longer than the context"),
        (lambda v: Vocabulary.from_json(""), "no vocabulary"),
    ],
)
def test_mismatches_are_refused(run, message):
    with pytest.raises((DataError, ConfigError), match=message):
        run(text.vocabulary_of(str(text.GENESIS), None))


def test_bad_files(tmp_path):
    short, binary = tmp_path / "short.txt", tmp_path / "binary.txt"
    short.write_text("too short " * 20)
    binary.write_bytes(b"\xff\xfe\x00" * 1000)
    with pytest.raises(DataError, match="128 are needed"):
        load(f"text:{short}")
    with pytest.raises(DataError, match="not UTF-8"):
        load(f"text:{binary}")


@pytest.mark.timeout(20)
def test_devices_and_pipes_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe", tmp_path):
        with pytest.raises(DataError, match="not a file"):
            load(f"text:{path}")
        with pytest.raises(DataError, match="not a file"):
            text.read_file(str(path))
    with open(tmp_path / "large", "wb") as file:
        file.truncate(text.MAX_BYTES + 1)
    with pytest.raises(DataError, match="at most"):
        load(f"text:{tmp_path}/large")


def test_a_byte_order_mark_is_no_token(tmp_path):
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / encoding).write_text(STORY, encoding=encoding)
    plain, marked = (f"text:{tmp_path}/{name}" for name in ("utf-8", "utf-8-sig"))
    np.testing.assert_array_equal(load(marked)["x"], load(plain)["x"])
    assert describe(marked).vocabulary == describe(plain).vocabulary


def test_a_missing_library_names_the_extra(story, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(DataError, match=r"pip install 'gen_jax\[text\]'"):
        load(f"text:{story}@400")
