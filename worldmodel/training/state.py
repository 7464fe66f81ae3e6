"""What training changes: model, teacher, optimiser; how they are made, saved and restored."""

from collections.abc import Mapping
from typing import Any, Generic

import torch
from torch import Tensor, nn

from worldmodel.device import Compute
from worldmodel.teacher import AnyModel, Teacher


class TrainingState(Generic[AnyModel]):
    """Model, teacher and optimiser on their device, and how far they have come.

    The trainer takes it whole, so that one who shards the model builds it otherwise.
    """

    def __init__(
        self,
        model: AnyModel,
        teacher: Teacher[AnyModel],
        optimiser: torch.optim.Optimizer,
        compute: Compute,
    ) -> None:
        self.model, self.teacher, self.optimiser = model, teacher, optimiser
        self.compute = compute
        self.step, self.seconds = 0, 0.0

    def tensors(self) -> dict[str, Tensor]:
        """Return all that is saved, by name."""
        tensors = {f"model/{n}": t for n, t in self.model.state_dict().items()}
        tensors |= {f"teacher/{n}": t for n, t in self.teacher.model.state_dict().items()}
        tensors |= {f"centre/{n}": t for n, t in self.teacher.centres.items()}
        for number, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{number}/{name}": t for name, t in values.items()}
        return tensors

    def restore(self, tensors: Mapping[str, Tensor], step: int, seconds: float) -> None:
        """Take what `tensors` returned; raises `ValueError`, `RuntimeError` if it does not fit."""

        def under(name: str) -> dict[str, Tensor]:
            start = f"{name}/"
            return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}

        self.model.load_state_dict(under("model"))
        self.teacher.model.load_state_dict(under("teacher"))
        device = self.compute.device
        self.teacher.centres = {n: t.to(device) for n, t in under("centre").items()}
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in under("optimiser").items():
            number, key = name.split("/")
            state.setdefault(int(number), {})[key] = tensor
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})
        self.step, self.seconds = step, seconds

    def not_finite(self) -> str | None:
        """Return the name of a tensor that holds NaN or infinity, if there is one."""
        floats = {n: t for n, t in self.tensors().items() if t.is_floating_point()}
        finite = torch.stack([t.isfinite().all().to(self.compute.device) for t in floats.values()])
        return next((n for n, good in zip(floats, finite.tolist(), strict=True) if not good), None)


def parameter_groups(model: nn.Module, weight_decay: float, rate: float) -> list[dict[str, Any]]:
    """Return the optimiser's groups: matrices decay, biases and scales do not."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim < 2]
    return [
        {"params": matrices, "weight_decay": weight_decay, "lr": rate},
        {"params": vectors, "weight_decay": 0.0, "lr": rate},
    ]
