"""Solvers of ordinary and stochastic differential equations over arrays and pytrees.

`ode` has fixed steps (tableaus as data), `sde` Ito equations with diagonal noise, `adaptive`
diffrax's step control.
"""

from collections.abc import Callable
from functools import partial

from gen_jax.solvers import adaptive, ode, sde
from gen_jax.solvers.adaptive import Stats
from gen_jax.solvers.ode import TABLEAUS, Tableau, rk_step

SOLVERS: dict[str, Callable] = {
    name: partial(module.integrate, method=name)
    for module, names in (
        (ode, ode.TABLEAUS),
        (sde, sde.SOLVERS),
        (adaptive, adaptive.METHODS),
    )
    for name in names
}
"""Every solver by name: its module's `integrate` with the method chosen."""

__all__ = ["SOLVERS", "TABLEAUS", "Stats", "Tableau", "adaptive", "ode", "rk_step", "sde"]
