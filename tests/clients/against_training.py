"""What trains, adapts or keeps a network: with a converted one as with torch's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import peft
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from opacus import PrivacyEngine
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from tests.clients.against_tools import LABELS, X, network
from tests.clients.checks import close, is_ours

Row = Callable[[str, str], None]


def loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(X, LABELS), batch_size=2)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def parameters(model: nn.Module) -> list[Tensor]:
    return [parameter.detach() for parameter in model.parameters()]


class Classifier(lightning.LightningModule):  # type: ignore[misc]
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.network = network(kind)

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        return cross_entropy(self.network(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return sgd(self)


def lightning_trained(kind: str, folder: Path, precision: Any) -> list[Tensor]:
    model = Classifier(kind)
    trainer = lightning.Trainer(
        accelerator="cpu", precision=precision, max_epochs=3, default_root_dir=folder, logger=False,
        enable_checkpointing=False, enable_progress_bar=False,
    )  # fmt: skip
    trainer.fit(model, loader())
    return parameters(model)


# bfloat16 has eight bits, of which the last may differ.
@pytest.mark.client("lightning")
@pytest.mark.parametrize(("precision", "tolerance"), [("32-true", 1e-5), ("64-true", 1e-10), ("bf16-mixed", 1e-2)])
def test_lightning(precision: str, tolerance: float, tmp_path: Path, row: Row) -> None:
    found, expected = (lightning_trained(kind, tmp_path, precision) for kind in ("ours", "torch"))
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    row(f"`Trainer` of precision `{precision}`", "same parameters after three steps")


def accelerated(kind: str, precision: str) -> list[Tensor]:
    AcceleratorState._reset_state()  # there is one for a process, and it keeps its precision
    accelerator, model = Accelerator(cpu=True, mixed_precision=precision), network(kind)
    model, optimizer, data = accelerator.prepare(model, sgd(model), loader())
    for x, label in data:
        accelerator.backward(cross_entropy(model(x), label))
        optimizer.step()
    return parameters(model)


@pytest.mark.client("accelerate")
@pytest.mark.parametrize(("precision", "tolerance"), [("no", 1e-5), ("bf16", 1e-2)])
def test_accelerate(precision: str, tolerance: float, row: Row) -> None:
    found, expected = (accelerated(kind, precision) for kind in ("ours", "torch"))
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    row(f"`Accelerator` of precision `{precision}`", "same parameters after a step")


@pytest.mark.client("safetensors")
@pytest.mark.parametrize(("saved", "loaded"), [("ours", "torch"), ("torch", "ours")])
def test_safetensors(saved: str, loaded: str, tmp_path: Path, row: Row) -> None:
    source, target = network(saved), network(loaded)
    for parameter in parameters(target):
        parameter.zero_()
    save_model(source, str(tmp_path / "file"))
    load_model(target, tmp_path / "file")
    assert all(map(torch.equal, parameters(target), parameters(source)))
    row(f"`load_model` into {loaded} of what `save_model` wrote of {saved}", "equal parameters")


def private(kind: str, mode: str) -> list[Tensor]:
    model, loss = network(kind), nn.CrossEntropyLoss()
    criterion = {"criterion": loss} if mode == "ghost" else {}
    model, optimizer, *made = PrivacyEngine().make_private(
        module=model, optimizer=sgd(model), data_loader=loader(), noise_multiplier=0.0, max_grad_norm=0.1,
        poisson_sampling=False, grad_sample_mode=mode, **criterion,
    )  # fmt: skip
    (made[0] if criterion else loss)(model(X), LABELS).backward()
    optimizer.step()
    return parameters(model)


@pytest.mark.client("opacus")
@pytest.mark.parametrize("mode", ["hooks", "functorch", "ghost"])
def test_opacus(mode: str, row: Row) -> None:
    torch.testing.assert_close(private("ours", mode), private("torch", mode))
    row(f'`PrivacyEngine` in mode `"{mode}"`', "same parameters after a clipped step")


ADAPTERS = {
    "LoraConfig": {"init_lora_weights": False},
    "LoHaConfig": {"init_weights": False},
    "LoKrConfig": {"init_weights": False},
    "OFTConfig": {"init_weights": False},
}


def adapted(kind: str, name: str) -> tuple[list[Tensor], nn.Module]:
    """Output and gradients with adapters on both convolutions, and the network into which they were merged."""
    model: Any = network(kind)
    torch.manual_seed(0)
    model = peft.get_peft_model(model, getattr(peft, name)(target_modules=["0", "2"], **ADAPTERS[name]))
    output = model(X)
    output.square().sum().backward()
    grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    merged = model.merge_and_unload()
    return [output.detach(), *grads, merged(X).detach()], merged


@pytest.mark.client("peft")
@pytest.mark.parametrize("name", ADAPTERS)
def test_peft(name: str, row: Row) -> None:
    (found, merged), (expected, _) = (adapted(kind, name) for kind in ("ours", "torch"))
    close(found, expected)
    assert sum(map(is_ours, merged.modules())) == 2
    row(f"`{name}`", "same output and gradients with adapters, and after they are merged")
