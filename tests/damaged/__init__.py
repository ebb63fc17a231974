"""Models of every family with one callable damaged: each module of this folder has rows.

A row of a module's `CALLABLES` is `PACKAGE.FUNCTION/CALLABLE`: a model of a damaged callable, the
damages, data.
"""

import importlib
import pkgutil

CALLABLES = {
    name: row
    for module in pkgutil.iter_modules(__path__)
    if module.name != "common"
    for name, row in importlib.import_module(f"damaged.{module.name}").CALLABLES.items()
}
