"""What is learned: the settings of the losses."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from experiment.errors import UserError, nearest
from worldmodel.masks import MASKS, Mask
from worldmodel.model_config import ModelConfig
from worldmodel.schedule import ARMS, Arm, TimestepDensity
from worldmodel.targets import TARGETS, Target
from worldmodel.tokens import Modality
from worldmodel.vision_encoder import VisionEncoder

_WITH_TEACHER = ("self_flow", "sra")
_MOST_DRAWS = 64


@dataclass(frozen=True)
class Objective:
    """What is learned.

    `arm`: how tokens share times; `self_flow`, `sra` and `repa` have a representation loss,
    weighted by `gamma`, with the `target` in one of several geometries, on all tokens or on those
    `noisier` than the teacher's (`representation_on`). `mask`: which tokens are masked together.
    `teacher_gap`: the teacher of `sra` is at t - U(0, gap). `outside`: the teacher of `repa`.
    `text_dropout`: share of the samples whose instruction is empty, for classifier-free guidance.
    `own_timesteps`: modalities that draw times of their own, from their own density; all others
    share theirs (App. E shares those of video and action). `mask_ratio` is R_M. `condition_noise`:
    modalities not predicted whose tokens are noised up to this time (App. E: 0.2 for the frame).
    `weights`: of each modality's loss, 1 where not named. `dropout`: probability that a modality is
    left out of a whole batch, so that the model can do without it. `draws`: how many times, each
    with noise of its own, a sample is noised in one pass, where a single modality is predicted: the
    conditions, most of the tokens, are read once for all of them.
    """

    arm: Arm = "self_flow"
    gamma: float = 0.8
    mask_ratio: float = 0.1
    density: TimestepDensity = field(default_factory=TimestepDensity)
    own_timesteps: Mapping[str, TimestepDensity] = field(default_factory=dict)
    condition_noise: Mapping[str, float] = field(default_factory=lambda: {"frame": 0.2})
    weights: Mapping[str, float] = field(default_factory=dict)
    dropout: Mapping[str, float] = field(default_factory=dict)
    target: Target = "paper"
    representation_on: Literal["all", "noisier"] = "all"
    mask: Mask = "tokens"
    teacher_gap: float = 0.2
    outside: VisionEncoder | None = None
    text_dropout: float = 0.0
    draws: int = 1

    def __post_init__(self) -> None:
        for name, known in (
            ("arm", ARMS), ("target", TARGETS), ("mask", MASKS),
            ("representation_on", ("all", "noisier")),
        ):  # fmt: skip
            value = getattr(self, name)
            if value not in known:
                raise UserError(f"objective.{name}={value!r} is unknown.{nearest(value, known)}")
        for name in ("teacher_gap", "text_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"objective.{name}={getattr(self, name)} must lie in [0, 1].")
        if (self.arm == "repa") != (self.outside is not None):
            raise UserError(
                "objective.outside is the teacher of objective=repa: choose both or none of them."
            )
        if self.arm == "repa" and self.representation_on != "all":
            raise UserError("objective.representation_on: no token is noisier with objective=repa.")
        if not 1 <= self.draws <= _MOST_DRAWS:
            raise UserError(f"objective.draws={self.draws} must lie between 1 and {_MOST_DRAWS}.")
        if self.draws > 1 and self.with_representation:
            raise UserError(
                f"objective.draws={self.draws}: a representation loss compares one draw alone, "
                "take objective=dual_timestep or flow_matching."
            )
        if not 0 <= self.mask_ratio <= 0.5:
            raise UserError(f"objective.mask_ratio={self.mask_ratio} must lie in [0, 0.5].")
        for setting in ("condition_noise", "dropout"):
            for name, value in getattr(self, setting).items():
                if not 0 <= value <= 1:
                    raise UserError(f"objective.{setting}.{name}={value} must lie in [0, 1].")

    @property
    def with_teacher(self) -> bool:
        """Whether features are compared with those of the EMA teacher."""
        return self.arm in _WITH_TEACHER and self.gamma > 0

    @property
    def with_representation(self) -> bool:
        """Whether there is a representation loss, from whichever teacher."""
        return self.with_teacher or (self.arm == "repa" and self.gamma > 0)

    def headed(self, config: ModelConfig) -> ModelConfig:
        """Return the model's settings with a head h as wide as the features it is compared with."""
        return config if self.outside is None else replace(config, projected=self.outside.width)

    def check(self, modalities: Mapping[str, Modality], config: ModelConfig | None = None) -> None:
        """Raise `UserError` where the settings do not fit a model of these modalities."""
        if config is not None and self.with_representation:
            here = None if self.outside is None else self.outside.width
            if (config.projected or config.width) != (here or config.width):
                raise UserError(
                    f"objective={self.arm}: the model's head returns "
                    f"{config.projected or config.width} channels, its teacher has "
                    f"{here or config.width}: take the arm it was pretrained with, or none."
                )
        if config is not None and self.draws > 1 and config.conditions == "all":
            raise UserError(
                f"objective.draws={self.draws}: the conditions would see all draws, set "
                "model.conditions=conditions."
            )
        for setting in ("own_timesteps", "condition_noise", "weights", "dropout"):
            for name in getattr(self, setting):
                if name not in modalities:
                    raise UserError(
                        f"objective.{setting}: the model has no modality {name!r}."
                        f"{nearest(name, modalities)}"
                    )
        if self.text_dropout > 0 and "text" not in modalities:
            raise UserError("objective.text_dropout: the model reads no text.")
        for name in self.condition_noise:
            if modalities[name].predicted or modalities[name].vocabulary is not None:
                kind = "predicted" if modalities[name].predicted else "whole numbers"
                raise UserError(f"objective.condition_noise: {name} is {kind}, it takes no noise.")
        predicted = [name for name, modality in modalities.items() if modality.predicted]
        if all(self.dropout.get(name, 0) > 0 for name in predicted):
            raise UserError(
                f"objective.dropout may leave out all that is predicted ({', '.join(predicted)}): "
                "set it to 0 for one of them."
            )
