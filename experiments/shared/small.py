"""Options that make a run of any experiment small: for tests, and for comparisons of code."""

from dataclasses import fields

from experiments.shared.config import RunConfig

SMALL: dict[str, tuple[str | int, ...]] = {
    "network": ("--network.width", 16, "--network.depth", 1),
    "sampling_steps": ("--sampling-steps", 4),
    "recorded": ("--chains", 16, "--kernel-steps", 2, "--recorded", 20),
    "layers": ("--layers", 2),
    "levels": ("--levels", 1),
    "depth": ("--depth", 1),
    "width": ("--width", 8),
    "hidden": ("--hidden", 8),
    "leapfrog_step": ("--features", 16, "--levels", 3, "--annealed-chains", 8),
    "critic_width": ("--critic-width", 4, "--generator", "unet"),
    "buffer_size": ("--buffer-size", 32, "--chain-steps", 2, "--sample-steps", 2),
    "commitment": ("--codes", 64, "--dim", 4),
    "prior_network": ("--prior-network.width", 16, "--prior-network.depth", 1),
    "latents": ("--latents", 2, 4),
    "widths": ("--widths", 8, 8),
    "schedule": ("--schedule.batch-size", 40, "--schedule.first-steps", 2, "--flow.bins", 4),
}
"""A field of a configuration -> words of the command line of every experiment that has it."""


def small_words(config: type[RunConfig]) -> list[str]:
    """The command line of a small run of an experiment.

    A field with a fraction as its default is no size (`hidden` may be a share of the pixels).
    """
    sizes = {field.name for field in fields(config) if not isinstance(field.default, float)}
    return [str(word) for name in sorted(sizes & SMALL.keys()) for word in SMALL[name]]
