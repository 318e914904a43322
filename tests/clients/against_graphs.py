"""A network for graphs, with PyTorch Geometric's layers and torch's convolutions after them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.nn import GCNConv, SortAggregation

from tests.clients.checks import there_and_back

pytestmark = pytest.mark.client("torch-geometric")


class DGCNN(nn.Module):
    """Zhang, Cui, Neumann, Chen (2018): nodes in order of importance, and a convolution over them."""

    def __init__(self, width: int = 8, nodes: int = 6) -> None:
        super().__init__()
        self.graph = GCNConv(4, width)
        self.sort = SortAggregation(nodes)
        self.nodes = nn.Conv1d(1, 4, width, width)
        self.neighbours = nn.Conv1d(4, 4, 3)
        self.head = nn.Linear(4 * (nodes - 2), 2)

    def forward(self, x: Tensor, edges: Tensor, graph: Tensor) -> Tensor:
        x = self.sort(self.graph(x, edges).tanh(), graph)
        x = self.neighbours(self.nodes(x[:, None]).relu())
        result: Tensor = self.head(x.flatten(1))
        return result


def made() -> tuple[nn.Module, list[Tensor]]:
    edges = torch.randint(10, (2, 30))
    return DGCNN(), [torch.randn(20, 4), torch.cat([edges, edges + 10], 1), torch.arange(20) // 10]


def test_graphs(dtype: torch.dtype, row: Callable[[str, str], None]) -> None:
    row(*there_and_back(made, dtype).told("DGCNN"))
