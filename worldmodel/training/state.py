"""What training changes: model, teacher, optimiser; how they are made, saved and restored."""

from collections.abc import Mapping
from typing import Any, Generic, cast

import torch
from torch import Tensor, nn

from worldmodel.blocks import Stream
from worldmodel.device import Compute
from worldmodel.teacher import AnyModel, Teacher
from worldmodel.training import parallel


class TrainingState(Generic[AnyModel]):
    """Model, teacher and optimiser on their device, and how far they have come.

    `student` is the model as a loss calls it: itself, or what spreads it over processes. `whole` is
    where a sharded average is gathered, in the first process.
    """

    def __init__(
        self,
        model: AnyModel,
        teacher: Teacher[AnyModel],
        optimiser: torch.optim.Optimizer,
        compute: Compute,
        student: nn.Module | None = None,
        whole: nn.Module | None = None,
    ) -> None:
        self.model, self.teacher, self.optimiser = model, teacher, optimiser
        self.compute = compute
        self.student = model if student is None else cast(AnyModel, student)
        self._whole = whole
        self.step, self.seconds = 0, 0.0

    @property
    def sharded(self) -> bool:
        """Whether each process holds a shard of every weight."""
        return isinstance(self.model, parallel.FSDPModule)

    def averaged(self) -> AnyModel:
        """Return the averaged model, whole in the first process; to be called in all."""
        model = self.teacher.model
        if not self.sharded:
            return model
        parallel.gathered(model, self._whole)
        return cast(AnyModel, self._whole)

    def tensors(self) -> dict[str, Tensor]:
        """Return all that is saved, by name; of sharded ones, this process's shards."""
        tensors = {f"model/{n}": t for n, t in self.model.state_dict().items()}
        tensors |= {f"teacher/{n}": t for n, t in self.teacher.model.state_dict().items()}
        tensors |= {f"centre/{n}": t for n, t in self.teacher.centres.items()}
        for number, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{number}/{name}": t for name, t in values.items()}
        return tensors

    def places(self, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
        """Return tensors, spread as those of this state, that a saved state can be read into.

        Raises `ValueError` naming the first of the saved `shapes` that does not fit.
        """
        own = {n: t for n, t in self.tensors().items() if n.split("/")[0] in ("model", "teacher")}
        weights = [p for group in self.optimiser.param_groups for p in group["params"]]
        places: dict[str, Tensor] = {}
        for name, shape in shapes.items():
            kind, _, rest = name.partition("/")
            if kind in ("model", "teacher"):
                if name not in own or own[name].shape != shape:
                    raise ValueError(f"the model has no weight {name!r} of shape {tuple(shape)}")
                places[name] = own[name]
            elif kind == "optimiser":
                number, _, key = rest.partition("/")
                if int(number) >= len(weights):
                    raise ValueError(f"the model has fewer weights than {name!r} belongs to")
                weight = weights[int(number)]
                if key != "step" and weight.shape != shape:
                    raise ValueError(f"{name!r} has another shape than its weight")
                places[name] = torch.zeros(()) if key == "step" else torch.zeros_like(weight)
            else:
                places[name] = torch.zeros(shape)
        missing = sorted(own.keys() - places.keys())
        if missing:
            raise ValueError(f"the saved state has no {missing[0]!r}")
        return places

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

    def agree(self) -> None:
        """Average over the processes what each estimates from its own samples."""
        centres = self.teacher.centres
        if parallel.ranks().world > 1:
            for name in centres:
                centres[name] = parallel.ranks().mean(centres[name]).to(centres[name].device)

    def not_finite(self) -> str | None:
        """Return the name of a tensor of this process that holds NaN or infinity, if any."""
        floats = {
            n: parallel.own_part(t) for n, t in self.tensors().items() if t.is_floating_point()
        }
        finite = torch.stack([t.isfinite().all().to(self.compute.device) for t in floats.values()])
        return next((n for n, good in zip(floats, finite.tolist(), strict=True) if not good), None)


def parameter_groups(
    model: nn.Module, weight_decay: float, rate: float, *, orthogonal: bool = False
) -> list[dict[str, Any]]:
    """Return the optimiser's groups: matrices decay, biases and scales do not.

    With `orthogonal` the matrices of the blocks are a group of their own, for `Muon`.
    """
    learned = [p for p in model.parameters() if p.requires_grad]
    streams = [m for m in model.modules() if orthogonal and isinstance(m, Stream)]
    within = {id(p) for stream in streams for p in stream.parameters()}
    matrices = [p for p in learned if p.ndim >= 2 and id(p) not in within]
    groups = [
        {"params": matrices, "weight_decay": weight_decay, "lr": rate},
        {"params": [p for p in learned if p.ndim < 2], "weight_decay": 0.0, "lr": rate},
    ]
    hidden = [p for p in learned if p.ndim >= 2 and id(p) in within]
    if hidden:
        groups.append(
            {"params": hidden, "weight_decay": weight_decay, "lr": rate, "orthogonal": True}
        )
    return groups
