"""Cases, an independent oracle and exact checks; ``python -m ndconv.testing`` runs them on a device of yours.

Convolution is linear in each operand and its sums of small integers are exact, so everything here is compared for
equality: there is no tolerance to choose. Needs NumPy (``pip install "ndconv[testing]"``).
"""

from ndconv.testing._cases import Case, sample
from ndconv.testing._checks import failures, reference, results

__all__ = ["Case", "failures", "reference", "results", "sample"]
