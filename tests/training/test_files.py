"""JSON that is read and written, and files that are asked for before the work."""

import json
import math
import os

import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.errors import ConfigError, ResourceError
from gen_jax.training import check_writable, write_json
from gen_jax.training.files import read_json
from gen_jax.types import Estimate


@pytest.mark.parametrize("text", ["", "{", "\udcff", "[" * 100_000, "1" * 5000, "NaN,"])
def test_whatever_is_not_json_is_a_value_error(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError):
        read_json(path)


def test_json_is_strict_and_whole(tmp_path):
    """NaN is no JSON; what fails leaves the old file (see test_writing.py)."""
    path = tmp_path / "a.json"
    value = {
        "estimate": Estimate(np.float32(0.5), math.inf),
        "arrays": [jnp.arange(3), np.array([[0.5, np.nan]]), jnp.float32(-math.inf)],
        "number": np.int64(3),
        1: (True, None, "text"),
    }
    write_json(path, value)
    refuse = lambda name: pytest.fail(f"{name} is no JSON")
    found = json.loads(path.read_text(), parse_constant=refuse)
    assert found["estimate"] == {"value": 0.5, "standard_error": None}
    assert found["arrays"] == [[0, 1, 2], [[0.5, None]], None]
    assert (found["number"], found["1"]) == (3, [True, None, "text"])
    with pytest.raises(OSError):
        write_json(tmp_path / "none" / "a.json", value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_file_is_asked_for_before_the_work(tmp_path):
    new, old = tmp_path / "folder" / "new.png", tmp_path / "old.png"
    old.write_text("old")
    assert (check_writable("output", new), check_writable("output", old)) == (new, old)
    assert (new.exists(), old.read_text()) == (False, "old")
    assert list(new.parent.iterdir()) == []
    os.mkfifo(tmp_path / "pipe.png")
    for wrong in (tmp_path / "folder", tmp_path / "pipe.png"):
        with pytest.raises(ConfigError, match=f"output='{wrong}' is there and is no file"):
            check_writable("output", wrong)
    # /proc refuses new files even to root, as a file system that is mounted to be read does.
    places = (
        "/proc/a.png",
        "/proc/none/a.png",
        old / "a.png",
        tmp_path / ("a" * 300),
    )
    for place in places:
        with pytest.raises(ResourceError, match=r"output=.* cannot be written \("):
            check_writable("output", type(old)(place))


def test_a_link_is_asked_for_what_it_leads_to(tmp_path):
    """One that leads nowhere yet was removed, and an empty file left in the place of its end."""
    link, target = tmp_path / "link.png", tmp_path / "target.png"
    link.symlink_to("target.png")
    assert check_writable("output", link) == link
    assert (link.is_symlink(), target.exists()) == (True, False)
    target.mkdir()
    with pytest.raises(ConfigError, match="is there and is no file"):
        check_writable("output", link)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "a.json")
