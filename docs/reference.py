"""Write the API pages: one for every public name, with an example and its errors run when the site is built."""

from __future__ import annotations

import ast
import inspect
import io
import re
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import ndconv
import ndconv.distributed
import ndconv.testing

# Title and introduction of every group, the module that its names are in, and which of that module's names they are.
GROUPS: dict[str, tuple[str, str, ModuleType, str]] = {
    "modules": (
        "Modules",
        "Modules with the arguments, parameters and initial draws of torch's. They are in ``ndconv.nn`` as well.",
        ndconv,
        r"(Lazy)?Conv(Transpose)?[123N]d",
    ),
    "functional": ("Functions", "", ndconv.functional, ".*"),
    "grad": ("Gradients", "", ndconv.grad, ".*"),
    "curvature": ("Curvature", "", ndconv.curvature, ".*"),
    "models": (
        "Whole models",
        "All convolutions of a model, in place and back.",
        ndconv,
        "convert|revert|Conversion|Change",
    ),
    "distributed": ("Several processes", "", ndconv.distributed, ".*"),
    "planning": (
        "Plans and lowerings",
        "What a convolution will run, and what it shall run.",
        ndconv,
        "plan|ConvPlan|SlotPlan|calibrate|Profile|.*lowering|.*timings|.*workspace_limit|.*measuring_budget|.*_exact",
    ),
    "lowerings": ("Lowerings of your own", "", ndconv.lowerings, ".*"),
    "testing": ("Testing", "", ndconv.testing, ".*"),
}

# Where a group has many names: title, a sentence, and which names. A name stands in the first section that takes it.
SECTIONS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "grad": (
        ("Gradients", "What autograd would return, as plain functions.", ".*nd_(input|weight|bias|backward)|Gradients"),
        (
            "Norms and products",
            "What is asked of the weight gradients of single samples, without these gradients.",
            ".*nd_weight_(sqnorm|dot|gram)",
        ),
        ("One, two and three axes", "The same, with the number of axes in the name.", ".*"),
    ),
    "distributed": (
        (
            "Models and volumes",
            "From a model and a loader to shards.",
            "parallelize|local_slices|from_local|.et_overlap",
        ),
        ("Layers", "Torch's, which take DTensors too. `parallelize` puts them in place.", ".*"),
    ),
    "curvature": (
        (
            "Whole models",
            "Every convolution and every linear layer of a model, during a forward and backward of your own.",
            "record|Statistics?",
        ),
        ("Covariances", "The factors of K-FAC and the Hessians of GPTQ.", ".*nd_(input|output)_covariance"),
        (
            "Squares and projections",
            "The diagonal of the Fisher matrix, and gradients in another basis.",
            ".*nd_weight_(square|project)",
        ),
        ("Operator norms", "Lipschitz constants of layers, with bounds.", ".*nd_operator_norm|OperatorNorm"),
        ("One, two and three axes", "The same, with the number of axes in the name.", ".*"),
    ),
}

# What every name can get wrong, by pattern. {n} axes, {I} their sizes, {K} a kernel's, {O} those of the output.
ERRORS: dict[str, tuple[str, ...]] = {
    r"ndconv\.Conv[123]d": (
        "ndconv.{name}(3, 8, 3, stride=0)",
        "ndconv.{name}(3, 8, 3)(torch.rand(1, 4, {I}))",
    ),
    r"ndconv\.ConvNd": (
        "ndconv.ConvNd(4, 3, 8, kernel_size=(3, 3))",
        "ndconv.ConvNd(4, 3, 8, 3)(torch.rand(1, 3, 9, 9))",
    ),
    r"ndconv\.ConvTranspose[123]d": (
        "ndconv.{name}(4, 3, 3, groups=3)",
        "ndconv.{name}(4, 3, 3, stride=2, output_padding=2)(torch.rand(1, 4, {O}))",
        "ndconv.{name}(4, 3, 3, stride=2)(torch.rand(1, 4, {O}), output_size=({twelve}))",
    ),
    r"ndconv\.ConvTransposeNd": (
        "ndconv.ConvTransposeNd(4, 3, 8, 3, padding=-1)",
        "ndconv.ConvTransposeNd(4, 3, 8, 3)(torch.rand(1, 4, 5, 5, 5, 5))",
    ),
    r"ndconv\.LazyConv(Transpose)?[123]d": (
        "ndconv.{name}(8, 3, groups=3)",
        "ndconv.{name}(8, 3, groups=2)(torch.rand(1, 3, {I}))",
    ),
    r"ndconv\.LazyConv(Transpose)?Nd": ("ndconv.{name}(4, 8, 3, groups=3)",),
    r"ndconv\.convert": (
        "ndconv.convert(torch.nn.Conv2d)",
        'ndconv.convert(torch.nn.Conv2d(3, 8, 3), only="layer1")',
        'ndconv.convert(torch.nn.Conv2d(3, 8, 3), lowering="direct")',
    ),
    r"ndconv\.revert": ('ndconv.revert(ndconv.Conv2d(3, 8, 3), only="layer1")',),
    r"ndconv\.plan": (
        "ndconv.plan((8, 3, 32, 32), (64, 4, 3, 3))",
        'ndconv.plan((8, 3, 32, 32), (64, 3, 3, 3), lowering="direct")',
    ),
    r"ndconv\.set_lowering": ('ndconv.set_lowering("direct")',),
    r"ndconv\.lowering": ('with ndconv.lowering("direct"):\n    pass',),
    r"ndconv\.set_workspace_limit": ("ndconv.set_workspace_limit(0)", "ndconv.set_workspace_limit(1e9)"),
    r"ndconv\.calibrate": ('ndconv.calibrate("meta")',),
    r"ndconv\.set_measuring_budget": ('ndconv.set_measuring_budget("1min")', "ndconv.set_measuring_budget(-1)"),
    r"ndconv\.set_exact": ("ndconv.set_exact(1)",),
    r"ndconv\.lowerings\.register": (
        'ndconv.lowerings.register("my-own", lambda b, problem, first, second: first)',
        'ndconv.lowerings.register("taps", lambda b, problem, first, second: first)',
        'ndconv.lowerings.register("mine", None)',
        'ndconv.lowerings.register("mine", lambda b, problem, first, second: first, automatic=True, exact=False)',
    ),
    r"ndconv\.lowerings\.unregister": ('ndconv.lowerings.unregister("taps")',),
    r"ndconv\.ConvPlan": ('plan = ndconv.plan((2, 3, 6), (4, 3, 1))\nf"{{plan:sauce}}"',),
    r"ndconv\.load_timings": ('ndconv.load_timings("nowhere.json")',),
    r"ndconv\.functional\.conv([123n])d": (
        "{path}(torch.rand(2, 4, {I}), torch.rand(8, 3, {K}))",
        "{path}(torch.rand(2, 3, {I}), torch.rand(8, 3, {K}), padding=-1)",
        "{path}(torch.rand(2, 3, {K}), torch.rand(8, 3, {I}))",
        "{path}(torch.rand(2, 3, {I}), torch.rand(8, 3, {K}).double())",
        "{path}(torch.rand(2, 3, {I}), torch.rand(8, 3, {K}), stride=1.0)",
    ),
    r"ndconv\.functional\.conv_transpose([123n])d": (
        "{path}(torch.rand(2, 3, {O}), torch.rand(4, 3, {K}))",
        "{path}(torch.rand(2, 4, {O}), torch.rand(4, 3, {K}), stride=2, output_padding=2)",
    ),
    r"ndconv\.functional\.unfoldnd": (
        "{path}(torch.rand(1, 3, 5, 5), kernel_size=6)",
        "{path}(torch.rand(5, 5), kernel_size=(3, 3, 3))",
    ),
    r"ndconv\.functional\.foldnd": ("{path}(torch.rand(1, 9, 10), output_size=(5, 5), kernel_size=3)",),
    r"ndconv\.grad\.conv[123n]d_input": (
        "{path}((2, 3, {I}), torch.rand(4, 3, {K}), torch.rand(2, 4, {I}))",
        "{path}((2, 5, {I}), torch.rand(4, 3, {K}), torch.rand(2, 4, {O}))",
    ),
    r"ndconv\.grad\.conv[123n]d_weight": (
        "{path}(torch.rand(2, 3, {I}), (4, 3, {K}), torch.rand(2, 4, {I}))",
        "{path}(torch.rand(3, {I}), (4, 3, {K}), torch.rand(4, {O}), per_sample=True)",
    ),
    r"ndconv\.grad\.conv_transpose[123n]d_input": (
        "{path}((2, 4, {O}), torch.rand(4, 3, {K}), torch.rand(2, 3, {O}))",
    ),
    r"ndconv\.grad\.conv_transpose[123n]d_weight": (
        "{path}(torch.rand(2, 4, {O}), (4, 3, {K}), torch.rand(2, 3, {O}))",
    ),
    r"ndconv\.grad\.conv[123]d_bias": ("{path}(torch.rand(4, {O}), per_sample=True)",),
    r"ndconv\.grad\.convnd_bias": ("{path}(torch.rand(4))",),
    r"ndconv\.grad\.convnd_backward": (
        "{path}(torch.rand(2, 3, 9, 9), torch.rand(4, 3, 3, 3), torch.rand(2, 4, 9, 9))",
        "{path}(torch.rand(2, 3, 9, 9), torch.rand(4, 3, 3, 3), torch.rand(2, 4, 7, 7), output_mask=(True, False))",
    ),
    r"ndconv\.grad\.conv_transposend_backward": (
        "{path}(torch.rand(2, 4, 7, 7), torch.rand(4, 3, 3, 3), torch.rand(2, 3, 7, 7))",
    ),
    r"ndconv\.grad\.conv[123n]d_weight_sqnorm": (
        "{path}(torch.rand(2, 3, {I}), (4, 3, {K}), torch.rand(2, 4, {I}))",
        '{path}(torch.rand(2, 3, {I}), (4, 3, {K}), torch.rand(2, 4, {O}), method="ghost")',
    ),
    r"ndconv\.grad\.conv_transpose[123n]d_weight_sqnorm": (
        "{path}(torch.rand(2, 4, {O}), (4, 3, {K}), torch.rand(2, 3, {O}))",
    ),
    r"ndconv\.grad\.conv[123n]d_weight_dot": (
        "{path}(torch.rand(2, 3, {I}), torch.rand(4, 2, {K}), torch.rand(2, 4, {O}))",
    ),
    r"ndconv\.grad\.conv_transpose[123n]d_weight_dot": (
        "{path}(torch.rand(2, 4, {O}), torch.rand(4, 3, {K}), torch.rand(2, 3, {O}))",
    ),
    r"ndconv\.grad\.conv[123n]d_weight_gram": (
        "x, y = torch.rand(2, 3, {I}), torch.rand(2, 4, {O})\n"
        "{path}(x, (4, 3, {K}), y, other=(x[..., 1:], y[..., 1:]))",
    ),
    r"ndconv\.grad\.conv_transpose[123n]d_weight_gram": (
        "{path}(torch.rand(2, 4, {O}), (4, 3, {K}), torch.rand(2, 3, {O}))",
    ),
    r"ndconv\.curvature\.conv(_transpose)?[123n]d_input_covariance": (
        "{path}(torch.rand(2, 3, {I}), 3, groups=2)",
        '{path}(torch.rand(2, 3, {I}), 3, kind="both")',
    ),
    r"ndconv\.curvature\.conv[123n]d_output_covariance": ("{path}(torch.rand(2, 3, {O}), groups=2)",),
    r"ndconv\.curvature\.conv[123n]d_weight_square": (
        "{path}(torch.rand(2, 3, {I}), (4, 3, {K}), torch.rand(2, 4, {I}))",
    ),
    r"ndconv\.curvature\.conv_transpose[123n]d_weight_square": (
        "{path}(torch.rand(2, 4, {O}), (4, 3, {K}), torch.rand(2, 3, {O}))",
    ),
    r"ndconv\.curvature\.conv[123n]d_weight_project": (
        "x, y = torch.rand(2, 3, {I}), torch.rand(2, 4, {O})\n{path}(x, torch.rand(5, 3, {K}), torch.rand(2, 4), y)",
    ),
    r"ndconv\.curvature\.conv_transpose[123n]d_weight_project": (
        "x, y = torch.rand(2, 4, {O}), torch.rand(2, 3, {I})\n{path}(x, torch.rand(5, 4, {K}), torch.rand(2, 3), y)",
    ),
    r"ndconv\.curvature\.conv(_transpose)?[123n]d_operator_norm": (
        "{path}(torch.rand(4, 4, {K}), (2, 4, {I}))",
        "{path}(torch.rand(4, 4, {K}), (4, {I}), tolerance=0)",
    ),
    r"ndconv\.curvature\.record": (
        'with {path}(torch.nn.Conv2d(3, 8, 3), "weight_norm"):\n    pass',
        "layer = torch.nn.Conv2d(3, 8, 3)\n"
        'with {path}(layer, "weight_sqnorm") as statistics:\n'
        "    layer(torch.rand(2, 3, 9, 9)).sum().backward()\n"
        'statistics[""].bias_sqnorm',
    ),
    r"ndconv\.testing\.Case": ('{path}.parse("3x3")',),
    r"ndconv\.testing\.Trial": ('{path}.parse("n2g1c3d4-k3x2-s2x1-p1.1x0.0-d1x2-i8x5-quickly")',),
}

# Names that stand for a convolution, and so have an answer on the page "Try it".
DRAWN = r"ndconv\.(functional\.conv|grad\.conv|(Lazy)?Conv)(_transpose|Transpose)?[123Nn]d(_input|_weight|_backward)?"

# Examples for names whose docstring has none.
EXAMPLES: dict[str, str] = {
    r"ndconv\.LazyConv[123]d": ("layer = ndconv.{name}(8, 3)\nlayer(torch.rand(2, 5, {I})).shape\nlayer.weight.shape"),
    r"ndconv\.LazyConvTranspose[123]d": (
        "layer = ndconv.{name}(8, 3, stride=2)\nlayer(torch.rand(2, 5, {O})).shape\nlayer.weight.shape"
    ),
    r"ndconv\.Conversion|ndconv\.Change": (
        "model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())\n"
        "conversion = ndconv.convert(model)\n"
        "print(conversion)\n"
        "next(iter(conversion))"
    ),
    r"ndconv\.ConvPlan": (
        "plan = ndconv.plan((8, 3, 32, 32), (64, 3, 3, 3), padding=1)\n"
        "plan.output_shape\n"
        "plan.output.lowering\n"
        "plan.grad_weight.equation\n"
        "print(plan.grad_weight.source)"
    ),
    r"ndconv\.Profile": "print(ndconv.plan((2, 3, 6), (4, 3, 1)).profile)",
    r"ndconv\.SlotPlan": 'print(f"{{ndconv.plan((2, 3, 6), (4, 3, 1)).output:source}}")',
    r"ndconv\.lowerings\.Problem": (
        "import math\n"
        "def refusal(problem):\n"
        "    if math.prod(problem.geometry.kernel) > 100:\n"
        '        return "the kernel has more than 100 elements"'
    ),
    r"ndconv\.lowerings\.Slot": (
        "from ndconv.lowerings import Slot\nSlot.WEIGHT.operands\n[slot.indices for slot in Slot]"
    ),
    r"ndconv\.lowerings\.kernel_first": (
        "from ndconv.lowerings import Geometry, kernel_first, windows\n"
        "geometry = Geometry(kernel=(3,), stride=(1,), padding=((0, 0),), dilation=(1,))\n"
        "kernel_first(windows(torch.ones(1, 1, 1, 5), geometry), 1).shape"
    ),
    r"ndconv\.lowerings\.fold": (
        "from ndconv.lowerings import Slot, fold, register, unregister\n"
        "def added(b, problem, w, y):\n"
        '    return fold(b, b.einsum("gdck,ngdo->ngcko", w, y), problem.geometry)\n'
        "def refusal(problem):\n"
        "    if problem.slot is not Slot.INPUT or problem.geometry.ndim != 1:\n"
        '        return "it is for the gradient of the input along one axis"\n'
        'register("added", added, refusal=refusal)\n'
        'ndconv.grad.conv1d_input((1, 1, 5), torch.ones(1, 1, 3), torch.ones(1, 1, 3), lowering="added")\n'
        'unregister("added")'
    ),
    r"ndconv\.get_exact": "ndconv.get_exact()",
    r"ndconv\.get_measuring_budget": "ndconv.get_measuring_budget()",
    r"ndconv\.get_lowering": "ndconv.get_lowering()",
    r"ndconv\.get_workspace_limit": "ndconv.get_workspace_limit()",
    r"ndconv\.load_timings": (
        "import tempfile\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        '    ndconv.save_timings(f"{{folder}}/timings.json")\n'
        '    ndconv.load_timings(f"{{folder}}/timings.json")'
    ),
    r"ndconv\.grad\.Gradients": (
        "x, w, y = torch.ones(1, 1, 3), torch.ones(1, 1, 2), torch.ones(1, 1, 2)\n"
        "ndconv.grad.convnd_backward(x, w, y, output_mask=(True, False, True))"
    ),
    r"ndconv\.grad\.conv[123]d_bias": "{path}(torch.ones(2, 3, {O}))",
    r"ndconv\.grad\.conv[123]d_input": (
        "w, grad_output = torch.rand(4, 3, {K}), torch.rand(2, 4, {O})\n{path}((2, 3, {I}), w, grad_output).shape"
    ),
    r"ndconv\.grad\.conv[123]d_weight": (
        "x, grad_output = torch.rand(2, 3, {I}), torch.rand(2, 4, {O})\n{path}(x, (4, 3, {K}), grad_output).shape"
    ),
    r"ndconv\.grad\.conv_transpose[123]d_input": (
        "w, grad_output = torch.rand(4, 3, {K}), torch.rand(2, 3, {I})\n{path}((2, 4, {O}), w, grad_output).shape"
    ),
    r"ndconv\.grad\.conv_transpose[123]d_weight": (
        "x, grad_output = torch.rand(2, 4, {O}), torch.rand(2, 3, {I})\n{path}(x, (4, 3, {K}), grad_output).shape"
    ),
    r"ndconv\.grad\.conv[123]d_weight_(sqnorm|gram)": (
        "x, grad_output = torch.rand(2, 3, {I}), torch.rand(2, 4, {O})\n{path}(x, (4, 3, {K}), grad_output).shape"
    ),
    r"ndconv\.grad\.conv[123]d_weight_dot": (
        "x, vector, grad_output = torch.rand(2, 3, {I}), torch.rand(4, 3, {K}), torch.rand(2, 4, {O})\n"
        "{path}(x, vector, grad_output).shape"
    ),
    r"ndconv\.grad\.conv_transpose[123n]d_weight_(sqnorm|gram)": (
        "x, grad_output = torch.rand(2, 4, {O}), torch.rand(2, 3, {I})\n{path}(x, (4, 3, {K}), grad_output).shape"
    ),
    r"ndconv\.grad\.conv_transpose[123n]d_weight_dot": (
        "x, vector, grad_output = torch.rand(2, 4, {O}), torch.rand(4, 3, {K}), torch.rand(2, 3, {I})\n"
        "{path}(x, vector, grad_output).shape"
    ),
    r"ndconv\.curvature\.(conv[123]|conv_transpose[123n])d_input_covariance": (
        "{path}(torch.rand(2, 3, {I}), 3).shape\n{path}(torch.rand(2, 3, {I}), 3, bias=True).shape"
    ),
    r"ndconv\.curvature\.conv[123]d_output_covariance": "{path}(torch.rand(2, 4, {O}), groups=2).shape",
    r"ndconv\.curvature\.conv[123]d_weight_square": (
        "x, grad_output = torch.rand(2, 3, {I}), torch.rand(2, 4, {O})\n{path}(x, (4, 3, {K}), grad_output).shape"
    ),
    r"ndconv\.curvature\.conv_transpose[123n]d_weight_square": (
        "x, grad_output = torch.rand(2, 4, {O}), torch.rand(2, 3, {I})\n{path}(x, (4, 3, {K}), grad_output).shape"
    ),
    r"ndconv\.curvature\.conv[123]d_weight_project": (
        "x, grad_output = torch.rand(2, 3, {I}), torch.rand(2, 4, {O})\n"
        "left, right = torch.rand(1, 5, 3, {K}), torch.rand(1, 2, 4)\n"
        "{path}(x, left, right, grad_output).shape"
    ),
    r"ndconv\.curvature\.conv_transpose[123n]d_weight_project": (
        "x, grad_output = torch.rand(2, 4, {O}), torch.rand(2, 3, {I})\n"
        "left, right = torch.rand(1, 5, 4, {K}), torch.rand(1, 2, 3)\n"
        "{path}(x, left, right, grad_output).shape"
    ),
    r"ndconv\.curvature\.(conv[123]|conv_transpose[123n])d_operator_norm": (
        "value, lower, upper = {path}(torch.ones(4, 4, {K}), (4, {I}))\nlower <= value <= upper"
    ),
    r"ndconv\.curvature\.OperatorNorm": (
        'ndconv.curvature.convnd_operator_norm(torch.ones(1, 1, 3), (1, 9), padding=1, padding_mode="circular")'
    ),
    r"ndconv\.curvature\.Statistics?": (
        "model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())\n"
        'with ndconv.curvature.record(model, "weight_sqnorm", "input_covariance") as statistics:\n'
        "    model(torch.rand(2, 3, 9, 9)).sum().backward()\n"
        "statistics\n"
        'statistics["0"].weight_sqnorm.shape'
    ),
    r"ndconv\.testing\.(Matrix|examine_all|Examined|Outcome)": (
        "from ndconv.testing import examine_all, matrix\n"
        'trials = matrix("quick", dtypes=["float64"], lowerings=["taps"]).trials\n'
        "examined = next(examine_all(trials[:1]))\n"
        "examined.id\n"
        "examined.outcomes[0]"
    ),
    r"ndconv\.testing\.(Report|write_json|write_markdown|write_html|write_junit)": (
        "import tempfile\n"
        "from pathlib import Path\n"
        "from ndconv.testing import Report, examine_all, matrix, {function}\n"
        'generated = matrix("quick", dtypes=["float64"], lowerings=["taps"])\n'
        'report = Report.of(generated, "cpu", [*examine_all(generated.trials[:3])], seconds=1.0)\n'
        'report.count("failed")\n'
        "with tempfile.TemporaryDirectory() as folder:\n"
        '    path = Path(folder, "report")\n'
        "    {function}(report, path)\n"
        "    path.stat().st_size > 0"
    ),
    r"ndconv\.testing\.read_json": (
        "import tempfile\n"
        "from pathlib import Path\n"
        "from ndconv.testing import Report, examine_all, matrix, read_json, write_json\n"
        'generated = matrix("quick", dtypes=["float64"], lowerings=["taps"])\n'
        'report = Report.of(generated, "cpu", [*examine_all(generated.trials[:3])], seconds=1.0)\n'
        "with tempfile.TemporaryDirectory() as folder:\n"
        '    path = Path(folder, "report.json")\n'
        "    write_json(report, path)\n"
        "    read_json(path) == report"
    ),
    r"ndconv\.testing\.parameters": (
        'ndconv.testing.parameters(lowerings=["taps"])["lowering"]\nlen(ndconv.testing.parameters())'
    ),
    r"ndconv\.testing\.(reference|sample)": (
        "(case,) = ndconv.testing.sample(1, (2,))\n"
        "case.id\n"
        "[result.shape for result in ndconv.testing.reference(case, torch.float64)]"
    ),
}


def session(source: str, *, fails: bool = False) -> str:
    """What an interactive Python shows for a source, a line for the error at its end where there has to be one."""
    scope: dict[str, Any] = {"torch": __import__("torch"), "ndconv": ndconv}
    lines: list[str] = []
    for statement in ast.parse(source).body:
        text = ast.get_source_segment(source, statement) or ""
        compound = hasattr(statement, "body")
        lines += [f"{'...' if i else '>>>'} {line}" for i, line in enumerate(text.splitlines())] + ["..."] * compound
        with redirect_stdout(io.StringIO()) as shown:
            try:
                exec(compile(ast.Interactive([statement]), source, "single"), scope)
            except Exception as error:
                if not fails:
                    raise
                return "\n".join([*lines, f"{type(error).__name__}: {error}"])
        lines += shown.getvalue().splitlines()
    if fails:
        raise AssertionError(f"this raises nothing any more: {source}")
    return "\n".join(lines)


def _filled(template: str, path: str) -> str:
    name = path.rsplit(".", 1)[1]
    found = re.search(r"([123])d", name)
    n = int(found[1]) if found else 2

    def axes(size: int) -> str:
        return ", ".join([str(size)] * n)

    return template.format(
        name=name, path=path, n=n, I=axes(9), K=axes(3), O=axes(7), twelve=axes(12) + "," * (n == 1),
        function="write_json" if name == "Report" else name,
    )  # fmt: skip


def _address(name: str) -> str:
    """The page that answers for a convolution as in the examples, or a transposed one."""
    transposed = "transpose" in name.lower()
    shapes = ("(2, 4, {O})" if transposed else "(2, 3, {I})"), "(4, 3, {K})"
    shape, weight = (ast.literal_eval(_filled(each, f".{name}")) for each in shapes)
    return ndconv.plan(shape, weight, transposed=transposed).address.partition("&profile=")[0]


def _block(text: str) -> str:
    body = "\n".join(f"   {line}" for line in text.splitlines())
    return f".. code-block:: pycon\n   :class: wrapped\n\n{body}\n"


def _page(path: str, value: Any) -> str:
    kind = "autoclass" if inspect.isclass(value) else "autofunction"
    members = "\n   :members:\n   :show-inheritance:" if kind == "autoclass" else ""
    name, module = path.rsplit(".", 1)[1], path.rsplit(".", 1)[0]
    parts = [f"{name}\n{'=' * len(name)}", f".. currentmodule:: {module}\n", f".. {kind}:: {path}{members}\n"]
    example = next((text for pattern, text in EXAMPLES.items() if re.fullmatch(pattern, path)), None)
    if example is not None:
        parts += [".. rubric:: Example\n", _block(session(_filled(example, path)))]
    if re.fullmatch(DRAWN, path):
        parts.append(f"Drawn, worked out and written as programs: `try it <../{_address(name)}>`__.\n")
    errors = next((texts for pattern, texts in ERRORS.items() if re.fullmatch(pattern, path)), ())
    if errors:
        parts.append(".. rubric:: Errors\n")
        parts += [_block(session(_filled(error, path), fails=True)) for error in errors]
    return "\n\n".join(parts)


def names(group: str) -> dict[str, Any]:
    """The public names of a group, with what they name."""
    _, _, module, pattern = GROUPS[group]
    found = {name: getattr(module, name) for name in module.__all__ if re.fullmatch(pattern, name)}
    return {f"{module.__name__}.{name}": value for name, value in found.items() if not inspect.ismodule(value)}


def _tables(group: str) -> str:
    """The names of a group, in one table or in the group's sections."""
    left, text = [path.rsplit(".", 1)[1] for path in names(group)], ""
    for title, sentence, pattern in SECTIONS.get(group, (("", "", ".*"),)):
        taken = [name for name in left if re.fullmatch(pattern, name)]
        left = [name for name in left if name not in taken]
        if title:  # functions before classes, and convolutions before transposed ones
            taken.sort(key=lambda name: (name[0].isupper(), name.replace("_transpose", "~")))
        text += f"{title}\n{'-' * len(title)}\n\n{sentence}\n\n" if title else ""
        text += ".. autosummary::\n   :nosignatures:\n\n" + "".join(f"   {name}\n" for name in taken) + "\n"
    return text


def write(folder: Path) -> None:
    """Write all pages anew; Sphinx sees a change of times only where the text has changed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for group, (title, text, module, _) in GROUPS.items():
        listed = names(group)
        introduction = text or f".. automodule:: {module.__name__}"
        pages = "\n".join(f"   {path}" for path in listed)
        (folder / f"{group}.rst").write_text(
            f"{title}\n{'=' * len(title)}\n\n{introduction}\n\n.. currentmodule:: {module.__name__}\n\n"
            f"{_tables(group)}\n.. toctree::\n   :hidden:\n\n{pages}\n"
        )
        for path, value in listed.items():
            (folder / f"{path}.rst").write_text(_page(path, value))
    index = "\n".join(f"   {group}" for group in GROUPS)
    (folder / "index.rst").write_text(
        f"API\n===\n\n.. automodule:: ndconv\n\n.. toctree::\n   :maxdepth: 2\n\n{index}\n"
    )
