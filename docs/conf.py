"""Sphinx: everything a page needs is local, so that the docs build and read without a network."""

import json
import sys
from pathlib import Path

import ndconv
from ndconv.testing import read_json, write_html, write_markdown

_docs = Path(__file__).parent
sys.path[:0] = str(_docs), str(_docs.parent)  # for the scripts' module `figures`, and for what is below

from benchmarks import report  # noqa: E402
from docs import clients, mutation, reference  # noqa: E402
from docs.answers import build  # noqa: E402

project = "ndconv"
author = "The ndconv authors"
copyright = "2026, The ndconv authors"
release = ndconv.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "sphinx-mathjax-offline",
    "figures",
]
exclude_patterns = ["_build", "_generated", "answers", "scripts"]
html_theme = "furo"
html_title = "ndconv"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["links.js"]
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#2f6fa8", "color-brand-content": "#2f6fa8"},
    "dark_css_variables": {"color-brand-primary": "#7db3e0", "color-brand-content": "#7db3e0"},
}
default_role = "py:obj"  # a name in single backquotes is a link where the name has a place here

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 70
doctest_test_doctest_blocks = ""  # pytest runs those, with the globals of their module
nitpick_ignore_regex = [
    ("py:.*", r"(?!ndconv\b).*"),  # torch's and Python's names resolve only through a network
    ("py:.*", r"ndconv\.(\w+\.)*_.*"),  # private modules have no page
]
copybutton_exclude = ".linenos, .gp, .go"

# Chapters, guides and gallery are scripts: what they print and draw is made now, and one that fails ends the build.
sphinx_gallery_conf = {
    "examples_dirs": [f"scripts/{name}" for name in ("mathematics", "guides", "gallery")],
    "gallery_dirs": ["mathematics", "guides", "gallery"],
    "filename_pattern": r"\.py$",
    "within_subsection_order": "figures.Order",
    "nested_sections": False,
    "abort_on_example_error": True,
    "capture_repr": ("__repr__",),
    "copyfile_regex": r"index\.rst",
    "doc_module": ("ndconv",),
    "backreferences_dir": "_generated/backreferences",
    "download_all_examples": False,
    "image_srcset": ["2x"],
    "min_reported_time": 10**6,
    "remove_config_comments": True,
    "reset_modules": ("figures.reset",),
    "show_signature": False,
    "write_computation_times": False,
}

# Pages of results are made from the JSON of real runs, pages of names from the names.
_generated = _docs / "_generated"
(_generated / "extra").mkdir(parents=True, exist_ok=True)
_report = read_json(_docs / "results" / "matrix-cpu.json.gz")
write_html(_report, _generated / "extra" / "matrix.html")
write_markdown(_report, _generated / "test_matrix.md")
(_generated / "mutation.md").write_text(mutation.page(json.loads((_docs / "results" / "mutation.json").read_text())))
(_generated / "clients.md").write_text(clients.table(json.loads((_docs / "results" / "clients.json").read_text())))
report.write_markdown(report.load(report.committed()), _generated / "performance")
build.write(_generated)
html_extra_path = ["_generated/extra"]
reference.write(_docs / "api")
