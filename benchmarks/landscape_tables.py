"""The tables and pictures of the landscape, from its rows alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.measuring import DOCS, write_record
from gen_jax import plotting

NUMBERS = {
    "frechet": "Frechet distance",
    "precision": "precision",
    "recall": "recall",
    "label_accuracy": "label accuracy",
    "memorisation_ratio": "memorisation ratio",
    "authenticity": "authenticity",
    "downstream_accuracy_generated": "downstream accuracy",
    "sampling_cpu_seconds_per_1000": "CPU s per 1,000 samples",
    "network_calls": "network calls",
    "parameters": "parameters",
    "cpu_seconds": "CPU s of training",
}
"""Columns after the likelihood."""
DOWNSTREAM_REAL = "downstream_accuracy_real"
NEAR = 0.9
"""A share of real images' number that is near to it."""
Row = dict[str, Any]
Number = dict[str, float] | float | int | str


def value_of(number: Any) -> float:
    return float(number["value"] if isinstance(number, dict) else number)


def error_of(number: Any) -> float:
    found = number.get("standard_error") if isinstance(number, dict) else 0.0
    return float(found or 0.0)


def over_seeds(rows: Sequence[Row], name: str) -> Number:
    """A number with its error; of several seeds the mean and its standard error over them."""
    found = [row[name] for row in rows if row.get(name) is not None]
    if not found:
        return ""
    if len(found) == 1 or not isinstance(found[0], dict | float):
        return found[0]
    values = np.array([value_of(number) for number in found])
    error = values.std(ddof=1) / np.sqrt(len(values))
    return {"value": float(values.mean()), "standard_error": float(error)}


def by_family(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Family -> the rows of its seeds, those that diverged among them."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["family"], []).append(row)
    return found


def of_real(row: Row, name: str) -> Number:
    """What real images have in the place of samples, from any row."""
    if name == "memorisation_ratio":  # by its definition
        return 1
    known = f"{name}_real_train_test"
    return row.get(DOWNSTREAM_REAL if name.startswith("downstream") else known, "")


def likelihood(rows: Sequence[Row]) -> list[Number]:
    """Bits per dimension and their kind."""
    ended = [row for row in rows if "bits_per_dim" in row]
    if not ended:
        return ["", "none"]
    kind = ended[0]["log_prob_kind"]
    return [over_seeds(ended, "bits_per_dim"), kind]


def diverged(rows: Sequence[Row]) -> str:
    return f"{sum(row['diverged'] for row in rows)} of {len(rows)}"


def numbers_table(rows: Sequence[Row]) -> tuple[list[str], list[list[Number]]]:
    """Columns and rows: real images, then every family."""
    columns = ["family", "bits/dim", "kind", *NUMBERS.values(), "seeds diverged"]
    ended = [row for row in rows if not row["diverged"]]
    real = {
        name: next((r for row in ended if (r := of_real(row, name)) != ""), "") for name in NUMBERS
    }
    lines: list[list[Number]] = [["real images", "", "", *real.values(), ""]]
    for family, found in by_family(rows).items():
        told = [row for row in found if not row["diverged"]] or found
        numbers = [over_seeds(told, name) for name in NUMBERS]
        lines.append([family, *likelihood(found), *numbers, diverged(found)])
    return columns, lines


def beside_real(number: Any, real: Any) -> str:
    """`as real` within two errors, `near` from NEAR of real images' number on, or `below`."""
    if value_of(number) >= value_of(real) - 2 * error_of(number):
        return "as real"
    return "near" if value_of(number) >= NEAR * value_of(real) else "below"


def novelty(number: Any, real: Any) -> str:
    """Whether as many samples as held-out images are no nearer to the training set than usual."""
    gap, error = value_of(number) - value_of(real), error_of(number)
    if abs(gap) <= 2 * error:
        return "as held-out images"
    return "nearer to the training set" if gap < 0 else "farther from the training set"


def randomness(ratio: Any) -> str:
    """How much samples differ among themselves, beside real images."""
    if NEAR <= value_of(ratio) <= 1 / NEAR:
        return "as real"
    return "less" if value_of(ratio) < NEAR else "more"


def in_words(resemblance: str, covered: str, kind: str, new: str, calls: float) -> str:
    """One plain statement."""
    looks = {
        "as real": "Most samples pass for real images",
        "near": "Samples are close to real images",
        "below": "Many samples are off the data",
    }[resemblance]
    reach = {"as real": "all of the data is reached", "near": "nearly all of the data is reached"}
    law = "no likelihood" if kind == "none" else f"likelihood: {kind}"
    copies = ", nearer to the training images than held-out ones are" if "nearer" in new else ""
    cost = "one network call" if calls == 1 else f"{calls:.0f} network calls"
    return f"{looks}{copies}; {reach.get(covered, 'part of the data is missed')}; {law}; {cost}."


def demands_table(rows: Sequence[Row]) -> tuple[list[str], list[list[Number]]]:
    """The five demands on a sampler, read from the numbers by the same rules for all."""
    columns = [
        "family",
        "resemblance (precision)",
        "coverage",
        "likelihood",
        "novelty (authenticity)",
        "stochasticity (spread)",
        "in words",
    ]
    lines: list[list[Number]] = []
    for family, found in by_family(rows).items():
        ended = [row for row in found if not row["diverged"]]
        if not ended:
            lines.append([family, *[""] * 5, f"Diverged with {diverged(found)} seeds."])
            continue
        of = {n: over_seeds(ended, n) for n in ("precision", "coverage", "authenticity", "spread")}
        real = {name: of_real(ended[0], name) for name in of}
        bits, kind = likelihood(ended)
        looks, reach = (beside_real(of[n], real[n]) for n in ("precision", "coverage"))
        new = novelty(of["authenticity"], real["authenticity"])
        shown = lambda number: f"{value_of(number):.2f}"
        random = "" if of["spread"] == "" else f"{randomness(of['spread'])} ({shown(of['spread'])})"
        calls = value_of(over_seeds(ended, "network_calls"))
        lines.append(
            [
                family,
                f"{looks} ({shown(of['precision'])})",
                f"{reach} ({shown(of['coverage'])})",
                str(kind) if bits == "" else f"{kind} ({shown(bits)})",
                f"{new} ({shown(of['authenticity'])})",
                random,
                in_words(looks, reach, str(kind), new, calls),
            ]
        )
    return columns, lines


def status(rows: Sequence[Row], how: Row) -> str:
    """How the rows were measured, for below the table."""
    seeds = sorted({row["seed"] for row in rows})
    commits = sorted({row["commit"][:7] for row in rows if row.get("commit")})
    real = next((row for row in rows if not row["diverged"]), {})
    several = "errors over seeds, or over examples where a family has one"
    over = "one seed, errors over examples" if len(seeds) == 1 else several
    return (
        f"`python -m benchmarks.landscape`, dataset `{how['dataset']}`, "
        f"{how['cpu_minutes']:g} CPU minutes each; {over}; n = {real.get('num_samples')}, features "
        f"`{real.get('features')}`, likelihood of {how['likelihood']} test images; code of "
        f"{', '.join(commits)}."
    )


def write_all(
    rows: Sequence[Row], how: Row, name: str, strip_of: Callable[[str], Path], docs: Path = DOCS
) -> list[Path]:
    """Both records, the plot of quality against sampling time, and the picture of samples."""
    written = []
    tables = {f"landscape-{name}": numbers_table, f"landscape-{name}-demands": demands_table}
    for title, make in tables.items():
        columns, lines = make(rows)
        head = {"name": title, "status": status(rows, how)}
        written.append(write_record({**head, "columns": columns, "rows": lines}, docs))
    found = by_family([row for row in rows if not row["diverged"]])
    points = {}
    for family, ended in found.items():
        seconds = value_of(over_seeds(ended, "sampling_cpu_seconds_per_1000"))
        number = over_seeds(ended, "frechet")
        points[family] = [(seconds, value_of(number), error_of(number))]
    if points:
        floor = value_of(of_real(next(iter(found.values()))[0], "frechet"))
        figure = plotting.quality_versus_calls(
            points, "Frechet distance", floor, xlabel="CPU seconds per 1,000 samples"
        )
        written.append(plotting.save(figure, docs / "pictures" / f"landscape_{name}_time.png"))
    strips = {family: path for family in found if (path := strip_of(family)).exists()}
    if strips:
        rows_of = [np.asarray(Image.open(path)) for path in strips.values()]
        grid = np.concatenate([strip if strip.ndim == 3 else strip[..., None] for strip in rows_of])
        picture = plotting.label_rows(grid, [*strips], size=11)
        written.append(plotting.save_image(docs / "pictures" / f"landscape_{name}.png", picture))
    return written
