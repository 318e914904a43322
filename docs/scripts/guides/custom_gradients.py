"""
Custom gradients and ``torch.func``
===================================

`ndconv.grad` has every gradient as a plain function. Use them in your own ``autograd.Function``, in a test, or in an
algorithm that needs no graph. Names and arguments are those of ``torch.nn.grad``. Beyond it there are biases,
transposed convolutions, any number of axes and padding of every kind.
"""

import torch

import ndconv

torch.manual_seed(0)
x, w, b = torch.randn(4, 3, 10, 10), torch.randn(6, 3, 3, 3), torch.randn(6)
y = ndconv.functional.conv2d(x, w, b, stride=2)
g = torch.randn_like(y)

print(ndconv.grad.conv2d_input(x.shape, w, g, stride=2).shape)
print(ndconv.grad.conv2d_weight(x, w.shape, g, stride=2).shape)
print(ndconv.grad.conv2d_bias(g).shape)

# %%
# All in one call, or only those that the mask selects:

print(
    [
        grad if grad is None else tuple(grad.shape)
        for grad in ndconv.grad.convnd_backward(x, w, g, stride=2)
    ]
)
found = ndconv.grad.convnd_backward(x, w, g, stride=2, output_mask=(False, True, False))
print(found.input, tuple(found.weight.shape), found.bias)

# %%
# A Function of your own
# ----------------------
#
# A convolution whose weight is rounded to three levels in the forward pass, while its gradient pretends that it was
# not: the *straight-through* estimator. The backward pass is two calls.


class Ternary(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        rounded = w.sign() * (w.abs() > 0.5)
        ctx.save_for_backward(x, rounded)
        return ndconv.functional.conv2d(x, rounded, padding=1)

    @staticmethod
    def backward(ctx, g):
        x, rounded = ctx.saved_tensors
        grad_x = ndconv.grad.conv2d_input(x.shape, rounded, g, padding=1)
        grad_w = ndconv.grad.conv2d_weight(x, rounded.shape, g, padding=1)
        return grad_x, grad_w


weight = w.clone().requires_grad_()
Ternary.apply(x, weight).square().mean().backward()
print(weight.grad.shape)

# %%
# The functions are differentiable in both operands, so such a Function can be differentiated twice.
#
# ``torch.func``
# --------------
#
# ``grad``, ``vjp``, ``jvp``, ``vmap``, ``jacrev``, ``jacfwd`` and ``hessian`` work, alone and nested. Forward mode
# costs two convolutions and keeps nothing:

tangent = torch.randn_like(w)
value, change = torch.func.jvp(
    lambda kernel: ndconv.functional.conv2d(x, kernel), (w,), (tangent,)
)
print(torch.allclose(change, ndconv.functional.conv2d(x, tangent), atol=1e-4))

# %%
# An ensemble is a ``vmap`` over parameters. Both operands are mapped, so the models become groups of one convolution
# (:doc:`/mathematics/groups`):

kernels = torch.randn(5, 6, 3, 3, 3)
outputs = torch.func.vmap(ndconv.functional.conv2d)(
    x.expand(5, -1, -1, -1, -1), kernels
)
one_by_one = torch.stack([ndconv.functional.conv2d(x, kernel) for kernel in kernels])
print(tuple(outputs.shape), torch.allclose(outputs, one_by_one, atol=1e-4))

# %%
# Whole layers go through ``functional_call``, as any module does:

layer = ndconv.Conv2d(3, 6, 3)
parameters = {name: value.detach() for name, value in layer.named_parameters()}


def loss(parameters, sample):
    return torch.func.functional_call(layer, parameters, sample[None]).square().mean()


gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
print({name: tuple(value.shape) for name, value in gradients.items()})

# %%
# ``torch.autograd.grad(..., is_grads_batched=True)``, which goes through torch's older vmap, works too.
