"""What makes a step cheaper without changing the model: compiled blocks, recomputed activations."""

from torch import nn

from experiment.errors import UserError
from worldmodel.transformer import Checkpointing, Transformer


def accelerate(
    model: nn.Module, *, compiled: bool, checkpointing: Checkpointing, backend: str = "inductor"
) -> None:
    """Compile each transformer block of `model` by itself, and set what is recomputed, in place.

    Blocks are alike, so that compiling one serves all; names of weights stay as they are. Raises
    `UserError` where the model has no such blocks.
    """
    trunks = [module for module in model.modules() if isinstance(module, Transformer)]
    asked = "compile=true" if compiled else f"checkpointing={checkpointing}"
    if not trunks and (compiled or checkpointing != "none"):
        raise UserError(f"trainer.{asked}: {type(model).__name__} has no transformer blocks.")
    for trunk in trunks:
        # The compiler itself keeps what is expensive and recomputes the rest.
        selective = checkpointing == "selective"
        trunk.checkpointing = "none" if compiled and selective else checkpointing
        if compiled:
            for block in trunk.blocks:
                block.compile(fullgraph=True, backend=backend)
