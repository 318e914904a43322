"""Gradients of convolutions without autograd's bookkeeping: `torch.nn.grad` for any number of axes, and what it lacks.

Names, arguments and their order are those of `torch.nn.grad`; the shared arguments are those of `ndconv.functional`.
All functions are differentiable in both operands, and take unbatched inputs (but `convnd_bias`, which knows no N).
"""

from ndconv.grad._backward import Gradients, conv_transposend_backward, convnd_backward
from ndconv.grad._bias import conv1d_bias, conv2d_bias, conv3d_bias, convnd_bias
from ndconv.grad._conv import (
    conv1d_input,
    conv1d_weight,
    conv2d_input,
    conv2d_weight,
    conv3d_input,
    conv3d_weight,
    convnd_input,
    convnd_weight,
)
from ndconv.grad._conv_transpose import (
    conv_transpose1d_input,
    conv_transpose1d_weight,
    conv_transpose2d_input,
    conv_transpose2d_weight,
    conv_transpose3d_input,
    conv_transpose3d_weight,
    conv_transposend_input,
    conv_transposend_weight,
)

__all__ = [
    "Gradients",
    "conv1d_bias",
    "conv1d_input",
    "conv1d_weight",
    "conv2d_bias",
    "conv2d_input",
    "conv2d_weight",
    "conv3d_bias",
    "conv3d_input",
    "conv3d_weight",
    "conv_transpose1d_input",
    "conv_transpose1d_weight",
    "conv_transpose2d_input",
    "conv_transpose2d_weight",
    "conv_transpose3d_input",
    "conv_transpose3d_weight",
    "conv_transposend_backward",
    "conv_transposend_input",
    "conv_transposend_weight",
    "convnd_backward",
    "convnd_bias",
    "convnd_input",
    "convnd_weight",
]
