"""docs/references.md has a row for every cited paper, and every row is cited."""

import pathlib
import re
from collections import Counter

ROOT = pathlib.Path(__file__).parents[1]
KEY = re.compile(r"(?<![\w/.-])[a-z]+(?:19|20)\d\d[a-z]*(?![\w])")
ROW = re.compile(r"^\| `(?P<key>.+?)` \| (?P<paper>.+?) \| *(?:\[(?P<id>.+?)\]\S*)? *\|$", re.M)
ROWS = list(ROW.finditer((ROOT / "docs" / "references.md").read_text()))


def cited():
    """key -> the files that cite it, of the code, the experiments, the benchmarks and the tests."""
    found: dict[str, list] = {}
    for folder in ("gen_jax", "experiments", "benchmarks", "tests"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for key in KEY.findall(file.read_text()):
                found.setdefault(key, []).append(file.relative_to(ROOT).as_posix())
    return found


def test_keys_and_rows_are_the_same():
    rows, keys = {row["key"] for row in ROWS}, cited()
    assert len(ROWS) > 200
    assert not {key: files for key, files in keys.items() if key not in rows}
    assert not rows - keys.keys()


def test_one_key_for_each_paper_and_one_paper_for_each_key():
    for column in ("key", "paper", "id"):
        twice = {k: n for k, n in Counter(row[column] for row in ROWS).items() if k and n > 1}
        assert not twice


def test_keys_and_identifiers_have_their_form():
    for row in ROWS:
        assert KEY.fullmatch(row["key"])
        if row["id"] is not None:
            assert re.fullmatch(r"arXiv:(\d{4}\.\d{4,5}|[a-z-]+/\d{7})", row["id"]), row["id"]
    assert [row["key"] for row in ROWS] == sorted(row["key"] for row in ROWS)
