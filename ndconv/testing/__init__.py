"""Cases, an independent oracle and exact checks; ``python -m ndconv.testing`` runs them on your device.

Convolution is linear in each operand and its sums of small integers are exact, so all checks but that of random numbers
compare for equality. Needs three small packages: ``pip install "ndconv[testing]"``.
"""

from ndconv.testing._cases import Case, sample
from ndconv.testing._matrix import Matrix, matrix
from ndconv.testing._oracle import reference
from ndconv.testing._report import Report, read_json, write_json
from ndconv.testing._runner import Examined, Outcome, examine, examine_all
from ndconv.testing._space import parameters
from ndconv.testing._trials import Trial
from ndconv.testing._writers import write_html, write_junit, write_markdown

__all__ = [
    "Case",
    "Examined",
    "Matrix",
    "Outcome",
    "Report",
    "Trial",
    "examine",
    "examine_all",
    "matrix",
    "parameters",
    "read_json",
    "reference",
    "sample",
    "write_html",
    "write_json",
    "write_junit",
    "write_markdown",
]
