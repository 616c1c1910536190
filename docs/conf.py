"""How the documentation is built: ``sphinx-build -n -W docs build/docs``."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "twisted-graceful"
version = release = installed("twisted-graceful")
language = "en"

extensions = [
    "sphinx.ext.autodoc",  # the API, from the docstrings
    "sphinx.ext.napoleon",  # which are in Google form
    "options",  # all settings, from the table that the command line is made of
    "machines",  # diagrams of state machines, from their tables
]
exclude_patterns = ["_ext"]
html_theme = "furo"
html_title = "twisted-graceful"

# `name` in a docstring is code; nearly all of them are names of this package.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# No other project's site is asked where its names are: a build needs no network.
nitpick_ignore_regex = [
    ("py:.*", r"(twisted|zope|klein|socket|ssl|collections|dataclasses|http\.client)\..*"),
    # Our own types that are not public; the text says what they are.
    ("py:.*", r"twisted_graceful\.(http|handover_interface|process|testing\.\w+)\..*"),
    ("py:class", r"Admission|Clock|Launch|MemorySocket"),
]
