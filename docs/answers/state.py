"""What is typed into the page, as values: fields, presets, and the part of the address behind the ``#``."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from ndconv._form.written import USUAL
from ndconv._lowerings import LOWERINGS
from ndconv._machine.rates import kinds
from ndconv._rules._arguments import PADDING_MODES, PADDING_NAMES

DTYPES = "float32", "float64", "bfloat16", "float16", "complex64"
# What is chosen from a list; everything else is typed.
CHOICES: dict[str, tuple[str, ...]] = {
    "transposed": ("False", "True"),
    "padding_mode": PADDING_MODES,
    "lowering": ("auto", *LOWERINGS),
    "dtype": DTYPES,
    "profile": kinds(),
}
PRESETS: dict[str, str] = {
    "ResNet, first layer": "input=8,3,224,224&out_channels=64&kernel_size=7&stride=2&padding=3",
    "LeNet, second layer": "input=64,6,14,14&out_channels=16&kernel_size=5",
    "Depthwise 7x7 (ConvNeXt)": "input=2,96,56,56&out_channels=96&kernel_size=7&padding=3&groups=96",
    "WaveNet": "input=1,64,16000&out_channels=128&kernel_size=2&padding=causal&dilation=8",
    "ViT patches": "input=8,3,224,224&out_channels=768&kernel_size=16&stride=16",
    "DCGAN, one step up": "transposed=True&input=16,512,8,8&out_channels=256&kernel_size=4&stride=2&padding=1",
    "3-D U-Net": "input=1,32,24,48,48&out_channels=64&kernel_size=3&padding=same",
    "4-D light field": "input=1,8,5,5,24,24&out_channels=16&kernel_size=3&padding=1",
}


def read(fragment: str) -> dict[str, Any]:
    """Values of all fields, from the part of an address behind the ``#``.

    Raises:
        ValueError: If a part names no field, or has a value that its field does not take.

    Example:
        >>> read("input=8,3,32,32&kernel_size=3&padding=(1,2),(0,0)")["padding"]
        ((1, 2), (0, 0))
    """
    pairs = [part.partition("=") for part in fragment.split("&") if part]
    return values({name: unquote(text) for name, _, text in pairs})


def values(texts: Mapping[str, str]) -> dict[str, Any]:
    """Values of all fields from their texts; those that are missing or empty get their defaults."""
    if unknown := texts.keys() - USUAL.keys():
        raise ValueError(f"there are {', '.join(USUAL)}, but no {', '.join(sorted(unknown))}")
    return {name: _value(name, texts.get(name, "").strip()) for name in USUAL}


def _value(name: str, text: str) -> Any:
    if not text:
        return USUAL[name]
    if name in CHOICES:
        if text not in CHOICES[name]:
            raise ValueError(f"{name} must be one of {', '.join(CHOICES[name])}, but is {text!r}")
        return text == "True" if name == "transposed" else text
    if name == "padding" and text.strip("'\"") in PADDING_NAMES:
        return text.strip("'\"")
    try:
        return _tupled(ast.literal_eval(text))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        words = f", or one of {', '.join(PADDING_NAMES)}" if name == "padding" else ""
        raise ValueError(
            f"{name} must be a number, or several with commas between them{words}, but is {text!r}"
        ) from None


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list | tuple) else value
