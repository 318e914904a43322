"""How the site's figures look, what they say to those who cannot see them, and the few shapes that chapters share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import networkx as nx
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

BLUE, ORANGE, GREEN, RED, GREY = "#3d85c6", "#d9822b", "#4e9f6a", "#c8553d", "#7d7d7d"


def _fading(*colors: str) -> LinearSegmentedColormap:
    """From one colour through nothing at all to another, or from nothing to the only one."""
    stops = [to_rgba(colors[0], 1), to_rgba(colors[0], 0), to_rgba(colors[-1], 0), to_rgba(colors[-1], 1)]
    return LinearSegmentedColormap.from_list("fading", stops[2:] if len(colors) == 1 else stops)


SHADES, SIGNS = _fading(BLUE), _fading(ORANGE, BLUE)


def reset(gallery_conf: Mapping[str, Any], script: str) -> None:
    """What sphinx-gallery calls before every script."""
    matplotlib.rcdefaults()
    plt.style.use(Path(__file__).with_name("site.mplstyle"))
    torch.set_num_threads(1)  # a second one makes tiny cases wait where a machine is busy
    torch.set_printoptions(precision=4, sci_mode=False)


def _without_clutter(app: Any, docname: str, source: list[str]) -> None:
    """Take sphinx-gallery's notes out of its pages; only the gallery proper offers its scripts to download."""
    if docname.split("/")[0] not in ("mathematics", "guides", "gallery"):
        return
    page = re.sub(r"\.\. only:: html\n\n    \.\. note::.*?\n\n(?=\.\. rst-class::)", "", source[0], flags=re.DOTALL)
    page = page.replace("\n|\n", "\n")
    page = re.sub(r"\.\. code-block:: Python\n   :dedent: 1\n\s*\n(?=\S)", "", page)  # of a picture alone
    titled = r"(_thumb\.png\n    :alt:)(.*?thumbnail-title\">)([^<]*)<"
    page = re.sub(titled, r"\1 \3\2\3<", page, flags=re.DOTALL)
    if not docname.startswith("gallery/"):
        page = re.sub(r"\n\.\. _sphx_glr_download_.*", "\n", page, flags=re.DOTALL)
    source[0] = re.sub(r"    \.\. container:: sphx-glr-download sphx-glr-download-zip\n.*", "", page, flags=re.DOTALL)


def _single_letters(app: Any, kind: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Keep "stride: S." a sentence; reStructuredText begins a list with a letter and a full stop."""
    lines[:] = [re.sub(r"^(\s+\w+: )(?=[A-Z]\.$)", r"\1\\", line) for line in lines]


def setup(app: Any) -> dict[str, bool]:
    """Make this module a Sphinx extension."""
    app.connect("source-read", _without_clutter)
    app.connect("autodoc-process-docstring", _single_letters, priority=100)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def say(fig: Figure, words: str) -> None:
    """Give a figure the text that stands for it where it is not seen."""
    fig.suptitle(words).set_visible(False)


def cells(
    ax: Axes,
    values: Any,
    title: str = "",
    *,
    numbers: bool = True,
    rows: str = "",
    columns: str = "",
    frame: Sequence[tuple[int, int, int, int]] = (),
    color: str | None = None,
) -> None:
    """Draw a matrix as cells, shaded by value and with the values in them.

    Args:
        ax: Where.
        values: A matrix or a vector.
        title: Above it.
        numbers: Whether the values are written.
        rows: What the rows count.
        columns: What the columns count.
        frame: Rectangles to point at: row, column, height, width.
        color: Of the shades, where all values are of one sign.
    """
    matrix = torch.as_tensor(values).detach().double()
    matrix = matrix.reshape(-1, matrix.shape[-1])
    scale = float(matrix.abs().max()) or 1.0
    map_ = SIGNS if color is None else _fading(color)
    ax.imshow(matrix.numpy(), cmap=map_, vmin=-1.25 * scale if color is None else 0, vmax=1.25 * scale)
    height, width = matrix.shape
    ax.set_xticks(range(width))
    ax.set_yticks(range(height))
    ax.tick_params(length=0, labelsize=8)
    ax.set_xticks([i - 0.5 for i in range(width + 1)], minor=True)
    ax.set_yticks([i - 0.5 for i in range(height + 1)], minor=True)
    ax.grid(which="minor", color=GREY, alpha=0.35, linewidth=0.7)
    ax.tick_params(which="minor", length=0)
    ax.spines[:].set_visible(False)
    ax.set_title(title)
    ax.set_xlabel(columns)
    ax.set_ylabel(rows)
    if not rows:
        ax.set_yticks([])
    if not columns:
        ax.set_xticks([])
    if numbers:
        for i, row in enumerate(matrix.tolist()):
            for j, value in enumerate(row):
                color = "white" if abs(value) > 0.6 * scale else GREY
                ax.text(j, i, f"{value:g}", ha="center", va="center", fontsize=9, color=color)
    for top, left, tall, wide in frame:
        ax.add_patch(Rectangle((left - 0.5, top - 0.5), wide, tall, fill=False, edgecolor=ORANGE, linewidth=2.2))


def contraction(
    ax: Axes,
    left: tuple[str, str],
    right: tuple[str, str],
    shared: str,
    left_open: str,
    right_open: str,
    title: str = "",
) -> None:
    """Draw two tensors as disks, a line between them for every index that is summed and an open line for the others.

    Args:
        ax: Where.
        left: Name and colour of the first tensor.
        right: Of the second.
        shared: Indices of both, a letter each.
        left_open: Those of the first alone.
        right_open: Those of the second alone.
        title: Above it.
    """
    for label, height in zip(shared, _spread(len(shared), 0.3), strict=True):
        bow = torch.linspace(-1, 1, 50)
        ax.plot(0.7 * bow, height * (1 - bow**2), color=GREY, linewidth=1.4, zorder=1)
        ax.text(0, height + (0.17 if height >= 0 else -0.17), label, ha="center", va="center", style="italic")
    for x, labels, side in ((-0.7, left_open, -1), (0.7, right_open, 1)):
        for label, height in zip(labels, _spread(len(labels), 0.42), strict=True):
            ax.plot([x, x + 0.66 * side], [0, height], color=GREY, linewidth=1.4, zorder=1)
            ax.text(x + 0.83 * side, 1.2 * height, label, ha="center", va="center", style="italic")
    for x, (name, color) in ((-0.7, left), (0.7, right)):
        ax.add_patch(Circle((x, 0), 0.26, facecolor=color, edgecolor="none", zorder=2))
        ax.text(x, 0, name, ha="center", va="center", color="white", zorder=3, weight="bold")
    ax.set_xlim(-1.7, 1.7)
    ax.set_ylim(-0.7, 0.7)
    ax.set_aspect("equal")
    ax.axis("off")
    ax.set_title(title)


def _spread(count: int, reach: float) -> list[float]:
    """Heights of lines side by side, from the top."""
    return [0.0] if count == 1 else torch.linspace(reach, -reach, count).tolist()


def autograd_graph(ax: Axes, output: torch.Tensor, names: Mapping[int, str]) -> None:
    """Draw the graph that autograd recorded for a tensor, as its nodes name themselves.

    Args:
        ax: Where.
        output: The tensor.
        names: What to call leaves, by their ``id``.
    """
    graph, labels, colors = nx.DiGraph(), {}, {}

    def visit(node: Any, depth: int) -> None:
        layer = max(depth, graph.nodes[node].get("layer", 0)) if node in graph else depth
        graph.add_node(node, layer=layer)
        leaf = getattr(node, "variable", None)
        labels[node] = node.name().removesuffix("Backward0").removesuffix("Backward") if leaf is None else ""
        labels[node] = labels[node] or names.get(id(leaf), "leaf")
        colors[node] = ORANGE if leaf is not None else GREEN if "Trilinear" in labels[node] else GREY
        for after, _ in node.next_functions:
            if after is not None:
                graph.add_edge(node, after)
                visit(after, layer + 1)

    visit(output.grad_fn, 0)
    places = nx.multipartite_layout(graph, subset_key="layer", align="vertical", scale=1.0)
    boxes = {}
    for node, (x, y) in places.items():
        box = {"boxstyle": "round,pad=0.35", "facecolor": colors[node], "edgecolor": "none"}
        text = ax.text(x, y, labels[node], ha="center", va="center", color="white", fontsize=9, bbox=box)
        boxes[node] = text.get_bbox_patch()
    for start, end in graph.edges:
        arrow = {"arrowstyle": "-|>", "color": GREY, "patchA": boxes[start], "patchB": boxes[end], "shrinkB": 2}
        ax.annotate("", places[end], places[start], arrowprops=arrow, zorder=0)
    low, high = min(y for _, y in places.values()), max(y for _, y in places.values())
    ax.set_xlim(min(x for x, _ in places.values()) - 0.15, max(x for x, _ in places.values()) + 0.15)
    ax.set_ylim(low - 0.3 * (high - low), high + 0.3 * (high - low))
    ax.axis("off")


class Order:
    """The order of the gallery: from one axis to four, then training, then what is behind it."""

    scripts = (
        *("denoising", "edges", "volume", "volume_in_parts", "light_field"),
        *("lenet", "gradient_step", "hessian", "lowerings_compared"),
    )

    def __init__(self, folder: str) -> None:
        pass

    def __call__(self, file: str) -> int:
        name = file.removesuffix(".py")
        return self.scripts.index(name) if name in self.scripts else -1
