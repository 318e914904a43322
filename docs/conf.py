"""Sphinx: everything a page needs is local, so that the docs build and read without a network."""

import json
import sys
from pathlib import Path

import ndconv
from ndconv.testing import read_json, write_html, write_markdown

_docs = Path(__file__).parent
sys.path.insert(0, str(_docs.parent))  # the benchmarks are no part of the package
from benchmarks import report, results  # noqa: E402
from docs import _mutation  # noqa: E402

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
exclude_patterns = ["_build", "_generated"]
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

# Pages of results are made from the JSON of real runs.
_generated = _docs / "_generated"
(_generated / "extra").mkdir(parents=True, exist_ok=True)
_report = read_json(_docs / "results" / "matrix-cpu.json")
write_html(_report, _generated / "extra" / "matrix.html")
write_markdown(_report, _generated / "test_matrix.md")
(_generated / "mutation.md").write_text(_mutation.page(json.loads((_docs / "results" / "mutation.json").read_text())))
report.write_markdown(results.read(_docs.parent / "benchmarks" / "results" / "cpu.json"), _generated)
html_extra_path = ["_generated/extra"]
