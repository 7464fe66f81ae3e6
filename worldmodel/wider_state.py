"""More numbers in a state that a trained model reads."""

import torch
from torch import nn

from experiment.errors import UserError
from worldmodel.model import WorldModel
from worldmodel.tokens import Modality


def widen(model: WorldModel, modality: Modality, generator: torch.Generator) -> None:
    """Let the model read `modality`, which has further channels after those that it has now.

    Their weights are drawn as large as those of the others: in a thousand steps of fine-tuning
    weights of zero come to a sixtieth of that, and nothing is read. Where the new numbers are zero
    the model is the same function as before. Raises `UserError` where the model reads more than it
    would have.
    """
    former, layer = model.modalities[modality.name], model.inputs[modality.name]
    assert isinstance(layer, nn.Linear)
    more = modality.channels - former.channels
    if more < 0:
        raise UserError(
            f"the model reads {former.channels} numbers of {modality.name}, these settings have "
            f"{modality.channels}: set data.use.windows.grip as it was."
        )
    if not more:
        return
    weight = layer.weight.detach()
    drawn = torch.randn((len(weight), more), generator=generator).to(weight)
    drawn = drawn * weight.square().mean().sqrt()
    layer.weight = nn.Parameter(torch.cat([weight, drawn], 1))
    layer.in_features = modality.channels
    model.modalities[modality.name] = modality
