"""Render the tables of the pages in docs/ from the records.

    python docs/results/render.py            # write them
    python docs/results/render.py --check    # exit code 1 if they are not what the records say

A record of a run is written by `python -m experiments.record`. A record of a table holds results
of earlier measurements, with what they are worth (`status`).
"""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).parent / "records"
DOCS = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
NUMBERS = {
    "frechet": "Frechet distance",
    "label_accuracy": "label accuracy",
    "precision": "precision",
    "recall": "recall",
    "coverage": "coverage",
    "memorisation_ratio": "memorisation ratio",
    "classifier_accuracy": "accuracy of the classifier",
    "modes_covered": "modes",
    "mode_weight_tv": "total variation of the modes' weights",
    "sliced_wasserstein": "sliced Wasserstein distance",
    "log_normalizer": "log Z",
    "log_prob_nats": "log p in nats",
    "bits_per_dim": "bits/dim",
    "bits_per_dim_bound": "bits/dim by the bound",
    "perplexity_per_character": "perplexity per character",
    "generated_perplexity_per_token": "perplexity of samples under 5-grams, per token",
    "generated_perplexity_per_character": "perplexity of samples under 5-grams, per character",
    "sample_entropy_bits": "entropy inside a sample in bits",
    "distinct_4_grams": "distinct 4-grams",
}
"""What the table of runs shows, in this order; records hold all that was measured."""


def read(folder: Path = RECORDS) -> dict[str, dict[str, Any]]:
    """name -> record, of those that are shown in tables."""
    found = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json")))
    return {record["name"]: record for record in found if record.get("kind") in ("run", "table")}


def number(value: Any) -> str:
    """Four digits at most; an estimate to the second digit of its error."""
    if isinstance(value, dict):
        value, error = value["value"], value["standard_error"]
        if value is None or not error:
            return number(value)
        digits = max(0, 1 - int(f"{error:e}".partition("e")[2]))
        return f"{value:.{digits}f} ± {error:.{digits}f}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def measured(evaluation: dict[str, Any]) -> str:
    """The numbers of a run in one line, each beside the same between two real sets."""
    parts = []
    for name, title in NUMBERS.items():
        if name not in evaluation:
            continue
        ends = ("real_train_test", "exact")
        real = [evaluation[f"{name}_{end}"] for end in ends if f"{name}_{end}" in evaluation]
        beside = f" (real {number(real[0])})" if real else ""
        if name == "modes_covered":
            beside = f" of {number(evaluation['modes'])}"
        if name == "log_prob_nats" and "log_prob_kind" in evaluation:
            beside = f" ({evaluation['log_prob_kind']})"
        parts.append(f"{title} {number(evaluation[name])}{beside}")
    n = evaluation.get("num_compared", evaluation.get("num_samples"))
    return ", ".join([*parts, f"n = {n}"])


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = [*columns]
    lines = (f"| {' | '.join(line)} |" for line in [columns, ["---"] * len(columns), *rows])
    return "\n".join(re.sub(r"\|  (?=\|)", "| ", line) for line in lines)


def runs(records: Iterable[dict[str, Any]]) -> str:
    """The table of all runs that were recorded by themselves."""
    rows = [
        (
            record["title"],
            f"`{record['command']}`",
            f"{record['cpu_seconds']:.0f} ({record['wall_seconds']:.0f}, {record['load_average']})",
            measured(record["evaluation"]),
            f"[{record['commit'][:7]}](results/records/{record['name']}.json)",
        )
        for record in records
    ]
    return table(["run", "command", "CPU s (wall s, load)", "result", "record"], rows)


def pages(folder: Path = DOCS) -> dict[Path, str]:
    """Path -> text of every page with a table."""
    found = {path: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.md"))}
    return {path: text for path, text in found.items() if BLOCK.search(text)}


def render(text: str, records: dict[str, dict[str, Any]]) -> str:
    """The page with every block between markers made again. Raises KeyError without its record."""

    def block(match: re.Match) -> str:
        name = match["name"]
        if name == "runs":
            body = runs(record for record in records.values() if record["kind"] == "run")
        else:
            rows = ([number(cell) for cell in row] for row in records[name]["rows"])
            body = table(records[name]["columns"], rows)
            body += f"\n\n*{records[name]['status']}*"
        return f"{match[1]}\n{body}\n\n{match[3]}"

    return BLOCK.sub(block, text)


def main() -> None:
    records = read()
    for path, old in pages().items():
        new = render(old, records)
        if "--check" not in sys.argv:
            path.write_text(new, encoding="utf-8")
        elif new != old:
            name = path.relative_to(DOCS.parent)
            sys.exit(f"{name} is not what the records say: run `python docs/results/render.py`")


if __name__ == "__main__":
    main()
