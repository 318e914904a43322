"""What the site needs to answer in the browser, written when it is built."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import ndconv
from docs.answers.page import markdown

_HERE = Path(__file__).parent
# Where `nox -s docs` puts Pyodide and the wheels.
_BROWSER = "extra/browser"


def write(generated: Path) -> None:
    """Write the page's HTML, this folder as an archive, and a list of all archives for the worker to unpack.

    Raises:
        FileNotFoundError: If there is no Pyodide.
    """
    browser = generated / _BROWSER
    if not (browser / "package.json").exists():
        raise FileNotFoundError(f"{browser} lacks Pyodide: nox -s docs fetches it")
    package = json.loads((browser / "package.json").read_text())
    facts = {"ndconv": ndconv.__version__, "pyodide": package["version"], "license": package["license"]}
    (generated / "try.md").write_text(markdown(facts))
    with zipfile.ZipFile(browser / "answers.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(_HERE.glob("*.py")):
            if path != Path(__file__):
                archive.write(path, f"docs/answers/{path.name}")
    archives = ["answers.zip", *sorted(path.name for path in browser.glob("*.whl"))]
    (browser / "archives.json").write_text(json.dumps(archives))
