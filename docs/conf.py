"""Sphinx: Markdown by MyST, the generated pages by `generate.py`, nothing from outside the page."""

import gc
import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import generate

import gen_jax

# What tracing and sphinx keep is walked over rarely.
gc.freeze()
gc.set_threshold(200_000, 20, 100)

project = "gen_jax"
author = copyright = "The gen_jax authors"
release = version = gen_jax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["_build", "requirements.txt", "results"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb", ".rst": "restructuredtext"}
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True
highlight_language = "text"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]

html_theme = "furo"
html_title = "gen_jax"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False


contents = {}


def share_contents(app, page, template, context, doctree):
    """Pages of source code at one depth show one table of contents, so that it is made once."""
    make = context.get("toctree")

    def shared(**options):
        place = (page.count("/"), *options.items())
        if place not in contents:
            contents[place] = make(**options)
        return contents[place]

    if make is not None and page.startswith("_modules/"):
        context["toctree"] = shared


def setup(app):
    """Generate pages before the sources are read, and expand the marks inside pages."""
    generate.write_all(Path(app.srcdir))
    app.connect("source-read", generate.expand)
    app.connect("autodoc-process-docstring", generate.as_it_is)
    app.connect("html-page-context", share_contents, priority=400)  # before the theme asks for it
