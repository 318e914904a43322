"""The arguments that a user gave for a convolution, transposed or not, as one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ndconv._form.geometry import Convolution, Ints
from ndconv._rules._arguments import IntOrInts, Padding
from ndconv._rules._calls import Names, convolution, grad_output, transposed


@dataclass(frozen=True)
class Asked:
    """The arguments that functions of convolutions share.

    Args:
        function: Name of the public function, for messages.
        ndim: N; None to take it from a shape.
        transposed: Whether the function is one of transposed convolutions.
        stride: S.
        padding: ``(lo, hi)``.
        dilation: D.
        groups: Number of groups.
        output_padding: Of a transposed convolution.
        padding_mode: How padding is filled.
        output_size: Spatial size of a transposed convolution's result, instead of ``output_padding``.
    """

    function: str
    ndim: int | None
    transposed: bool
    stride: IntOrInts = 1
    padding: Padding = 0
    dilation: IntOrInts = 1
    groups: int = 1
    output_padding: IntOrInts = 0
    padding_mode: str = "zeros"
    output_size: Ints | None = None

    def convolution(self, input_shape: Sequence[int], weight_shape: Sequence[int], names: Names) -> Convolution:
        """The convolution of an input with a weight, or the one whose input gradient the transposed convolution is.

        Raises:
            RuntimeError: If a rule is broken.
            TypeError: If a value has the wrong type.
        """
        if self.transposed:
            return transposed(
                self.function, input_shape, weight_shape, self.stride, self.padding, self.output_padding, self.groups,
                self.dilation, output_size=self.output_size, mode=self.padding_mode, ndim=self.ndim, names=names,
            )  # fmt: skip
        return convolution(
            self.function, input_shape, weight_shape, self.stride, self.padding, self.dilation, self.groups,
            mode=self.padding_mode, ndim=self.ndim, names=names,
        )  # fmt: skip

    def result_shape(self, found: Convolution, input_shape: Sequence[int], weight_shape: Sequence[int]) -> Ints:
        """Shape of the result for an input, batched or not."""
        shape = found.input_shape if self.transposed else found.output_shape
        return shape(input_shape, weight_shape)

    def of_gradient(
        self, input_shape: Sequence[int], weight_shape: Sequence[int], grad_shape: Sequence[int], names: Names
    ) -> Convolution:
        """`convolution`, once the gradient of its result has the right shape."""
        found = self.convolution(input_shape, weight_shape, names)
        expected = self.result_shape(found, input_shape, weight_shape)
        grad_output(self.function, names, (input_shape, weight_shape), expected, grad_shape)
        return found
