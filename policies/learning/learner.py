"""What fine-tuning asks of a kind of policy; `video_action` and `regression` answer."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from policies.chunking import Predictor
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.windows import WindowBatch, WindowConfig
from worldmodel.device import Compute
from worldmodel.teacher import AnyModel, Teacher
from worldmodel.text import TextEncoder
from worldmodel.tokenizer import Tokenizer
from worldmodel.training.trainer import AnyBatch


class Learner(Protocol[AnyModel, AnyBatch]):
    """A model, how it is fed, what it learns, and how it acts."""

    kind: str
    model: AnyModel

    def assemble(self, windows: WindowBatch) -> AnyBatch:
        """Return the batch of windows in the model's units, on their device."""

    def loss(
        self,
        model: AnyModel,
        teacher: Teacher[AnyModel] | None,
        batch: AnyBatch,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Return the named terms of the loss; `total` is minimised."""

    def predictor(self, model: AnyModel, compute: Compute) -> Predictor:
        """Return `model` as what predicts chunks, as it will by default when evaluated."""

    def sections(self) -> Mapping[str, Any]:
        """Return the sections of `config.json` that only this kind has."""


class LearnerSettings(Protocol):
    """The settings of a kind of policy, filled by Hydra."""

    tokenizer: Tokenizer
    text: TextEncoder
    with_state: bool

    def learner(
        self, windows: WindowConfig, normalisation: Normalisation, seed: int
    ) -> Learner[Any, Any]:
        """Build the learner; raises `UserError` for settings that do not fit together."""
