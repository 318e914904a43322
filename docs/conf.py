"""Sphinx: everything a page needs is local, so that the docs build and read without a network."""

import ndconv

project = "ndconv"
author = "The ndconv authors"
copyright = "2026, The ndconv authors"
release = ndconv.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["wrap.css"]
default_role = "py:obj"  # a name in single backquotes is a link where the name has a place here

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # the README links to files of the repository, which are no pages here

autodoc_member_order = "bysource"
doctest_test_doctest_blocks = ""  # pytest runs those, with the globals of their module
nitpick_ignore_regex = [
    ("py:.*", r"(?!ndconv\b).*"),  # torch's and Python's names resolve only through a network
    ("py:.*", r"ndconv\.(\w+\.)*_.*"),  # private modules have no page
]
