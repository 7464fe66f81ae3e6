"""Finer pictures for a trained model, which at first is the same function of their mean.

A model learns what can be told from small pictures at a fraction of the cost, and objects a few
pixels wide need larger ones. With patches that grow along with the picture the tokens stay as
many: each pixel of a patch becomes a square of pixels that share its weights, and what the model
then learns is what distinguishes them.
"""

from einops import repeat
from torch import Tensor, nn

from experiment.errors import UserError
from worldmodel.model import WorldModel
from worldmodel.stem import patch_width
from worldmodel.tokens import Modality


def refine(model: WorldModel, modality: Modality, depth: int = 1) -> None:
    """Let the model read `modality`, whose patches are a whole number of times finer.

    `depth` is the number of pictures in a token. What the model predicts of it is, at first, the
    former picture with each pixel repeated. Raises `UserError` where its patches do not divide.
    """
    former = model.modalities[modality.name]
    if former.stem or modality.stem:
        raise UserError("a convolutional stem is made for its patches: leave tokenizer.stem out.")
    before, now = (patch_width(each, depth) for each in (former, modality))
    if now % before:
        raise UserError(
            f"{modality.name} was read in patches of {before} pixels, of which {now} are not a "
            "multiple: choose another tokenizer.patch."
        )
    if former.hidden != modality.hidden:
        raise UserError(f"tokenizer.hidden={modality.hidden} must stay {former.hidden}.")
    read, times = model.inputs[modality.name], now // before
    assert isinstance(read, nn.Sequential | nn.Linear)
    first = read[0] if isinstance(read, nn.Sequential) else read
    assert isinstance(first, nn.Linear)
    first.weight = nn.Parameter(_squares(first.weight, depth, before, times) / times**2)
    first.in_features = modality.channels
    if modality.name in model.outputs:
        output = model.outputs[modality.name]
        assert isinstance(output, nn.Linear)
        output.weight = nn.Parameter(_squares(output.weight.T, depth, before, times).T.contiguous())
        output.bias = nn.Parameter(_squares(output.bias[None], depth, before, times)[0])
        output.out_features = modality.channels
    model.modalities[modality.name] = modality


def _squares(weight: Tensor, depth: int, patch: int, times: int) -> Tensor:
    """Return weights `(n, c)` of a patch's values with each pixel's repeated over its square."""
    return repeat(
        weight.detach(), "n (d p q c) -> n (d p f q g c)",
        d=depth, p=patch, q=patch, f=times, g=times,
    ).contiguous()  # fmt: skip
