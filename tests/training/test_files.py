"""JSON that is read: a value, or an error of a kind that its readers expect."""

import pytest

from gen_jax.training.files import read_json


@pytest.mark.parametrize("text", ["", "{", "\udcff", "[" * 100_000, "1" * 5000, "NaN,"])
def test_whatever_is_not_json_is_a_value_error(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError):
        read_json(path)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "a.json")
