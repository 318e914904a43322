"""Functions and classes for 1, 2 and 3 axes are those for any number, under names of their own."""

from __future__ import annotations

import inspect
import pickle
import re
import traceback
from typing import Any

import pytest
import torch

import ndconv

FUNCTIONS = [
    getattr(module, name)
    for module in (ndconv.functional, ndconv.grad, ndconv.curvature)
    for name in module.__all__
    if re.match(r"conv(_transpose)?[123]d", name)
]
CLASSES = [getattr(ndconv, name) for name in ndconv.nn.__all__ if re.search("[123]d", name)]


def _general(made: Any) -> Any:
    """The function or class for any number of axes."""
    n = "N" if inspect.isclass(made) else "n"
    return getattr(inspect.getmodule(made), re.sub("[123]d", f"{n}d", made.__name__))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
class TestFunctions:
    def test_signature(self, function: Any) -> None:
        assert inspect.signature(function) == inspect.signature(_general(function))

    def test_name_and_docstring(self, function: Any) -> None:
        general = _general(function).__name__
        n = re.sub(r"\D", "", function.__name__)
        assert function.__qualname__ == function.__name__
        assert function.__doc__.startswith(f"As `{general}` with N = {n}")
        assert f"def {function.__name__}(" in inspect.getsource(function)

    def test_pickles_by_name(self, function: Any) -> None:
        assert pickle.loads(pickle.dumps(function)) is function

    def test_python_names_it_where_arguments_are_wrong(self, function: Any) -> None:
        with pytest.raises(TypeError, match=rf"^{function.__name__}\(\) got an unexpected keyword argument 'strides'"):
            function(strides=1)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
class TestClasses:
    def test_signature(self, cls: Any) -> None:
        general = inspect.signature(_general(cls))
        ndim, *parameters = general.parameters.values()
        assert ndim.name == "ndim"
        assert inspect.signature(cls) == general.replace(parameters=parameters)

    def test_python_names_it_where_arguments_are_wrong(self, cls: Any) -> None:
        with pytest.raises(TypeError, match=rf"^{cls.__name__}.__init__\(\) missing"):
            cls()


def test_a_traceback_shows_the_place_of_the_function() -> None:
    with pytest.raises(RuntimeError) as caught:
        ndconv.functional.conv2d(torch.rand(3), torch.rand(3))
    frame = traceback.extract_tb(caught.tb)[1]
    assert frame.name == "conv2d"
    assert frame.line == "@over(2, convolve)"
