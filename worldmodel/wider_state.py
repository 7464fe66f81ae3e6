"""More numbers in a state that a trained model reads, which at first change nothing."""

import torch
from torch import nn

from experiment.errors import UserError
from worldmodel.model import WorldModel
from worldmodel.tokens import Modality


def widen(model: WorldModel, modality: Modality) -> None:
    """Let the model read `modality`, which has further channels after those that it has now.

    Raises `UserError` where the model reads more than it would have.
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
    layer.weight = nn.Parameter(torch.cat([weight, weight.new_zeros(len(weight), more)], 1))
    layer.in_features = modality.channels
    model.modalities[modality.name] = modality
