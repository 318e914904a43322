r"""
Why a step of one is exact
==========================

A derivative is usually checked by moving an input a little and looking at the change:

.. math:: f'(x)\,v \approx \frac{f(x + h v) - f(x - h v)}{2h}

If the step :math:`h` is large, the curvature of :math:`f` falsifies the result; if it is small, rounding does. So such
checks have a tolerance, and a tolerance leaves room for a fault.

A convolution has no curvature. In :math:`x` alone it is linear, and in :math:`w` alone too:

.. math:: f(x + h v) - f(x) = h\, f(v) \quad \text{for every } h

Any step is right, so take :math:`h = 1`. And take integers for the values: floating point adds them without rounding.
Then no error is left.
"""

import torch

import ndconv

torch.manual_seed(0)
x = torch.randint(-3, 4, (1, 2, 7)).double()
w = torch.randint(-3, 4, (3, 2, 3)).double()


def f(x):
    return ndconv.functional.conv1d(x, w, stride=2, padding=1).flatten()


steps = torch.eye(14).double().view(14, 1, 2, 7)
by_differences = torch.stack([f(x + step) - f(x) for step in steps], dim=1)
by_autograd = torch.autograd.functional.jacobian(f, x).view(12, 14)
print(torch.equal(by_differences, by_autograd))

# %%
# How wrong the usual way is
# --------------------------
#
# The largest error of one directional derivative, over thirteen powers of ten, for random numbers and for integers, in
# both common precisions:

draws = {"random": torch.randn, "integers": lambda shape: torch.randint(-3, 4, shape)}
shapes = ((1, 2, 50), (3, 2, 3), (1, 2, 50))
errors = {}
for dtype in (torch.float32, torch.float64):
    for kind, draw in draws.items():
        x, w, v = (draw(shape).to(dtype) for shape in shapes)
        exact = ndconv.functional.conv1d(v.double(), w.double())
        for power in range(-12, 1):
            h = 10.0**power
            there = ndconv.functional.conv1d(x + h * v, w)
            back = ndconv.functional.conv1d(x - h * v, w)
            error = ((there - back) / (2 * h)).double() - exact
            errors[dtype, kind, power] = error.abs().max().item()

for (dtype, kind, power), error in errors.items():
    if power in (-6, 0):
        print(f"{dtype}  {kind:8}  step {10.0**power:5g}  error {error:.1e}")

# %%
# The larger the step, the better, and with integers the last point of the curve is 0. A logarithmic axis cannot show 0,
# so the point is drawn at its floor.

# sphinx_gallery_start_ignore
import figures
import matplotlib.pyplot as plt

fig, ax = plt.subplots(figsize=(7.2, 3.2))
for (dtype, kind), mark in zip(
    ((d, k) for d in (torch.float32, torch.float64) for k in ("random", "integers")),
    "oosx",
    strict=True,
):
    values = [max(errors[dtype, kind, power], 1e-17) for power in range(-12, 1)]
    label = f"{kind}, {str(dtype).removeprefix('torch.')}"
    ax.loglog(
        [10.0**power for power in range(-12, 1)],
        values,
        marker=mark,
        markersize=4,
        label=label,
    )
ax.set_xlabel("step h")
ax.set_ylabel("largest error")
ax.set_yticks([1e-17, 1e-12, 1e-7, 1e-2], ["0", "1e-12", "1e-7", "1e-2"])
ax.minorticks_off()
ax.legend()
figures.say(
    fig,
    "Error of a finite difference against its step: it falls as the step grows, to zero for integers at step one",
)
plt.show()
# sphinx_gallery_end_ignore

# %%
# What follows from it
# --------------------
#
# - The tests of this project compare *for equality*: results, both gradients, second derivatives, forward mode and
#   ``vmap``, in every dtype whose integers hold the sums. There is no tolerance for a fault to hide behind.
# - Equal to what? To a Jacobian of step 1, to a loop in NumPy that shares no code with the library, and to torch.
# - The sums must fit. float32 holds integers up to :math:`2^{24}`, bfloat16 up to :math:`2^8`; ``ndconv.testing`` draws
#   its numbers so small that every partial sum does.
#
# :doc:`/test_matrix` tells how it is done, and :doc:`/guides/matrix_on_your_device` how to do it on your device. JAX
# checks its convolutions with the same step (``check_grads_bilinear`` in its ``lax_autodiff_test.py``).

from torch.autograd import gradcheck

x, w = (
    torch.randint(-3, 4, shape).double().requires_grad_()
    for shape in ((1, 2, 7), (3, 2, 3))
)
print(gradcheck(ndconv.functional.conv1d, (x, w), eps=1.0, atol=0.0, rtol=0.0))
