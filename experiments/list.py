"""What there is: experiments, datasets, paths, samplers and the rest, by family.

    python -m experiments.list            # the names, on one screen
    python -m experiments.list samplers   # one section, a line for each name
    python -m experiments.list all

A section's name is the second column of the overview.
"""

import shutil
from dataclasses import dataclass

import tyro

from experiments.shared.command_line import read_options
from experiments.shared.plugins import load_plugin
from experiments.shared.registry import title_of
from experiments.shared.sections import data_sets, registries, scripts
from gen_jax.errors import check_choice
from gen_jax.registries import description
from gen_jax.training import run_main


def sections() -> dict[str, dict[str, str]]:
    """Title -> name -> one line."""
    found: dict[str, dict[str, str]] = {"experiments": {}, "commands": {}, "datasets": {}}
    for section in [*scripts(), data_sets(), *registries()]:
        lines = {n: r if isinstance(r, str) else description(r) for n, r in section.rows.items()}
        found[section.title] = {**found.get(section.title, {}), **lines}
    return found


def overview(width: int) -> str:
    """One line for each section, family by family; names that do not fit are counted."""
    every = [*scripts(), *registries()]
    families = dict.fromkeys(section.family for section in every if section.family)
    parts = [section for family in families for section in every if section.family == family]
    rows, last = [], None
    for section in [*parts, *(s for s in every if not s.family), data_sets()]:
        head = f"{'' if section.family == last else title_of(section.family):17s}{section.name:16s}"
        rows.append(head + fitted([*section.rows], width - len(head)))
        last = section.family
    return "\n".join(rows)


def fitted(names: list[str], width: int) -> str:
    """As many names as there is room for, then how many more there are."""
    text = " ".join(names)
    for kept in range(len(names) - 1, 0, -1):
        if len(text) <= width:
            break
        text = f"{' '.join(names[:kept])} ... +{len(names) - kept}"
    return text


@dataclass(frozen=True)
class Config:
    """What to show."""

    section: tyro.conf.Positional[str | None] = None
    """A name of the second column, or all; the overview if not given."""
    plugin: str | None = None
    """Your own module, imported first: what it adds to the registries is shown too."""


def main() -> None:
    config = read_options(Config, __doc__)
    load_plugin(config.plugin)
    if config.section is None:
        print(overview(shutil.get_terminal_size((100, 50)).columns))
        print(
            "\n`python -m experiments.list SECTION` has a line for each name, as in: list samplers"
        )
        return
    titles = {section.name: section.title for section in [*scripts(), *registries(), data_sets()]}
    check_choice("section", config.section, [*titles, "all"])
    for title, lines in sections().items():
        if config.section == "all" or titles[config.section] == title:
            print(title)
            for name, line in lines.items():
                print(f"  {name:24s} {line}".rstrip())
            print()


if __name__ == "__main__":
    run_main(main)
