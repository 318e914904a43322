"""
The test matrix on your device
==============================

Only you have your device. One command says what holds on it, in a minute on two cores:

.. code-block:: sh

   pip install ".[testing]"
   python -m ndconv.testing --device cuda --report matrix.html

It exits with 0 if something passed and nothing failed, and writes a page that filters by every parameter without a
network. What a device lacks counts as *unsupported*, with torch's own message, and not as a failure.

========================================  ==========================================================================
option                                    does
========================================  ==========================================================================
``--level quick``                         every pair of settings occurs; ``standard`` every three, ``full`` every four
``--dtype float32 bfloat16``              only these element types
``--lowering taps reshape``               only these lowerings
``--plugin my_module``                    import what registers lowerings first
``--case ID``                             one trial again
``--json``, ``--junit``                   for programs
``--workers``                             processes
========================================  ==========================================================================

From Python
-----------

The command is a thin wrapper around four functions. Here are some trials, drawn for one lowering and one dtype:
"""

from ndconv.testing import Trial, examine, examine_all, matrix

generated = matrix("quick", dtypes=["float32"], lowerings=["taps"])
print(
    len(generated.trials),
    "trials;",
    generated.covered,
    "of",
    generated.valid,
    "pairs of settings occur",
)
for trial, _ in generated.trials[:5]:
    print(trial.id)

# %%
# An id says everything: batch, groups, channels and features of a group; kernel, stride, padding, dilation and input
# size by axis; then every setting that is not the default. A trial can be run again alone, with every check:

trial = Trial.parse("n2g1c3d4-k3x2-s2x1-p1.1x0.0-d1x2-i8x5-float32-taps")
for outcome in examine(trial):
    print(f"{outcome.check:28} {outcome.status:15} {outcome.detail}")

# %%
# Twenty trials and their results:

from collections import Counter

eager = [
    (trial, row)
    for trial, row in generated.trials
    if trial.transform not in ("compile", "export")
][:20]
examined = list(examine_all(eager))
print(Counter(outcome.status for one in examined for outcome in one.outcomes))

# %%
# If something fails
# ------------------
#
# The id of the trial is printed with every failure. Run it alone with ``--case``, with ``--device cpu`` beside it, and
# put both outputs and the head of the report, which names versions and devices, into an issue.
#
# The results committed to the repository are on :doc:`/test_matrix`; they are of a CPU.

import matplotlib.pyplot as plt

seconds = sorted(one.seconds for one in examined)
fig, ax = plt.subplots(figsize=(7.2, 2.6))
ax.plot([1000 * s for s in seconds], marker=".")
ax.set_xlabel("trials, quickest first")
ax.set_ylabel("milliseconds")
ax.set_yscale("log")
fig.suptitle("Time that each of twenty trials took when this page was built")
plt.show()

# %%
# A trial is a tiny convolution under some thirty checks; most of its time goes to the NumPy loop and to Jacobians.
