"""The joint video-action model: the world model with layers for state and action added.

After Self-Flow, App. E: conditioned on the first frame and the instruction (here, as a setting, on
proprioception too), future video and a chunk of actions are denoised jointly. In training the video
is left out of a share of the batches, so a policy need not pay for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from experiment.errors import UserError
from experiment.seeding import torch_generator
from policies.chunking import check_execute
from policies.contract import ACTION_SIZE, STATE_SIZE
from worldmodel.assembler import Assembler, action_position
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.windows import WindowBatch, WindowConfig
from worldmodel.device import CPU, Compute
from worldmodel.finer_pictures import refine
from worldmodel.loss import losses
from worldmodel.model import WorldModel
from worldmodel.model_config import ModelConfig
from worldmodel.objective import Objective
from worldmodel.registry import compare
from worldmodel.sampler import Randomness, Sampling, sample
from worldmodel.schedule import TimestepDensity
from worldmodel.teacher import Teacher
from worldmodel.text import TextEncoder
from worldmodel.tokenizer import Tokenizer
from worldmodel.tokens import TEXT, Batch, Modality
from worldmodel.training import checkpoint
from worldmodel.wider_state import widen

KIND = "video_action"

_ACTION = Modality("action", ACTION_SIZE)
_MODEL = 1
# What a model can differ in from the settings: its layers are added to, its head follows from the
# objective it was made for, a stem can be added, what conditions attend to has no weights, and a
# video that is told otherwise gets its layers anew.
_NOT_COMPARED = ("modalities", "projected", "stem", "conditions", "difference")
_SIZES = ("height", "width", "patch")


@dataclass(frozen=True)
class Inference:
    """How a chunk is denoised, and how much of it is executed.

    `predict_video` denoises the future frames along with the actions; `start="zeros"` makes the
    chunk a function of the observation alone; `guidance` above 1 follows the instruction more.
    `execute` and `ensemble` are those of `policies.chunking.ChunkedPolicy`.
    """

    steps: int = 10
    shift: float = 1.0
    start: Literal["noise", "zeros"] = "zeros"
    predict_video: bool = False
    execute: int = 3
    guidance: float = 1.0
    ensemble: int = 1

    def __post_init__(self) -> None:
        _ = self.sampling  # raises `UserError` for impossible settings

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.steps, self.shift, self.start, self.guidance)


@dataclass(frozen=True)
class VideoActionPredictor:
    """Predicts chunks by denoising them, given frame, state and instruction."""

    model: WorldModel
    assembler: Assembler
    inference: Inference
    compute: Compute = CPU
    name: str = KIND

    @property
    def chunk(self) -> int:
        return self.assembler.windows.chunk

    def predict(self, windows: WindowBatch, generator: Randomness) -> np.ndarray:
        """Return `(b, chunk, 7)` in the model's units."""
        return self.denoised(windows, generator)["action"].cpu().numpy()

    def denoised(self, windows: WindowBatch, generator: Randomness) -> dict[str, Tensor]:
        """Return the denoised tokens `(b, n, c)` of `action` and, if predicted, of `video`."""
        assembler, device = self.assembler, self.compute.device
        known = assembler.known(windows.to(device))
        unknown = {"action": action_position(self.chunk, device)}
        if self.inference.predict_video:
            unknown["video"] = assembler.video_position(device)
        sampling = self.inference.sampling
        return sample(self.model, known, unknown, sampling, generator, self.compute)


@dataclass(frozen=True)
class VideoActionSettings:
    """What is fine-tuned, and from where.

    `init`: checkpoint of a pretrained model, None for random weights of size `model`.
    `timesteps`: `shared` by video and actions (App. E), or the actions' `own` from
    `action_density`. `video_weight` and `action_weight` weigh the losses, each a mean over its
    tokens. `video_dropout`, `state_dropout`: share of the batches without those tokens.
    `state_noise`: states are noised up to this time, as the frame is.
    """

    tokenizer: Tokenizer
    text: TextEncoder
    model: ModelConfig
    objective: Objective
    init: str | None = None
    with_state: bool = True
    timesteps: Literal["shared", "own"] = "shared"
    action_density: TimestepDensity = field(default_factory=TimestepDensity)
    action_weight: float = 1.0
    video_weight: float = 1.0
    video_dropout: float = 0.5
    state_dropout: float = 0.1
    state_noise: float = 0.0
    inference: Inference = field(default_factory=Inference)

    def __post_init__(self) -> None:
        if self.timesteps not in ("shared", "own"):
            raise UserError(f"timesteps={self.timesteps!r} must be shared or own.")
        for name in ("video_dropout", "state_dropout", "state_noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name}={getattr(self, name)} must lie in [0, 1].")

    def learner(
        self, windows: WindowConfig, normalisation: Normalisation, seed: int
    ) -> "VideoActionLearner":
        """Build the model and what it learns; raises `UserError` if `init` is of another size."""
        check_execute(self.inference.execute, windows.chunk, self.inference.ensemble)
        generator = torch_generator(seed, _MODEL)
        outside = self.objective.outside
        assembler = Assembler(
            self.tokenizer, self.text, windows, normalisation, self.with_state, outside
        )
        if self.init is None:
            config = self.objective.headed(self.model)
            model = WorldModel(assembler.modalities, config, generator)
        else:
            model = self._pretrained(self.init, assembler.modalities, generator)
        added = (_state(windows), _ACTION) if self.with_state else (_ACTION,)
        for modality in (*assembler.modalities, *added):
            if modality.name not in model.modalities:
                model.add_modality(modality, generator)
        if self.with_state:
            widen(model, _state(windows), generator)
        objective = self._joint()
        objective.check(model.modalities, model.config)
        return VideoActionLearner(model.train(), assembler, objective, self.inference)

    def _pretrained(
        self, init: str, modalities: Sequence[Modality], generator: torch.Generator
    ) -> WorldModel:
        pretrained = checkpoint.load(checkpoint.checkpoint_folder(init, "init"))
        # An older checkpoint does not say what was the same for all of its time.
        sections = {**pretrained.sections, "model": asdict(pretrained.model.config)}
        # A picture and its patches that are both so many times finer have as many tokens.
        tokenizer = self.tokenizer.config()
        times = _times_finer(tokenizer, sections["tokenizer"])
        alike = {name: size // times for name, size in tokenizer.items() if name in _SIZES}
        settings_here = {
            "model": {k: v for k, v in asdict(self.model).items() if k not in _NOT_COMPARED},
            "tokenizer": {k: v for k, v in (tokenizer | alike).items() if k not in _NOT_COMPARED},
            "text": self.text.config(),
        }
        for name, here in settings_here.items():
            there = {k: v for k, v in sections[name].items() if k not in _NOT_COMPARED}
            compare(here, there, name, f"init={init}")
        model = pretrained.model
        model.config = replace(model.config, conditions=self.model.conditions)
        if times > 1:
            for each in modalities:
                if each.name in model.modalities and each.name != TEXT:
                    refine(model, each, self.tokenizer.depth if each.predicted else 1)
        self._add_stem(model, init, generator)
        told = sections["tokenizer"].get("difference", 0.0)
        if tokenizer.get("difference", 0.0) != told:
            # Its layers read and predict values that mean something else now.
            model.replace_modality(self.tokenizer.modalities[1], generator)
        return model

    def _add_stem(self, model: WorldModel, init: str, generator: torch.Generator) -> None:
        """Give the frame the convolutions that the settings ask for and the checkpoint lacks."""
        frame = self.tokenizer.modalities[0]
        there = model.modalities[frame.name].stem
        if there == frame.stem:
            return
        if there:
            raise UserError(
                f"init={init} reads the frame with tokenizer.stem={there}, these settings have "
                f"{frame.stem}: leave it out."
            )
        model.add_stem(frame, generator)

    def _joint(self) -> Objective:
        base = self.objective
        densities = {"action": self.action_density} if self.timesteps == "own" else {}
        state = self.with_state
        noise = {"state": self.state_noise} if state and self.state_noise > 0 else {}
        dropout = {"state": self.state_dropout} if state else {}
        weights = {"action": self.action_weight, "video": self.video_weight}
        _refuse("weights", base.weights, weights, "weight")
        _refuse("dropout", base.dropout, ("video", "state"), "dropout")
        _refuse("condition_noise", base.condition_noise, noise, "noise")
        _refuse("own_timesteps", base.own_timesteps, densities, "density")
        return replace(
            base,
            own_timesteps={**base.own_timesteps, **densities},
            condition_noise={**base.condition_noise, **noise},
            weights={**base.weights, **weights},
            dropout={**base.dropout, "video": self.video_dropout, **dropout},
        )


def _refuse(setting: str, given: Mapping[str, Any], own: Iterable[str], ending: str) -> None:
    """Raise `UserError` where the objective sets what is a setting of the policy."""
    for name in given.keys() & set(own):
        raise UserError(
            f"objective.{setting}.{name}: a policy takes learner.settings.{name}_{ending} in its "
            "place, set that one."
        )


@dataclass(frozen=True)
class VideoActionLearner:
    """The joint model for `policies.finetune`; see `policies.learning.learner`."""

    model: WorldModel
    assemble: Assembler
    objective: Objective
    inference: Inference
    kind: str = KIND

    def loss(
        self,
        model: WorldModel,
        teacher: Teacher[WorldModel] | None,
        batch: Batch,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        return losses(model, teacher, batch, generator, self.objective)

    def predictor(self, model: WorldModel, compute: Compute) -> VideoActionPredictor:
        return VideoActionPredictor(model, self.assemble, self.inference, compute)

    def sections(self) -> Mapping[str, Any]:
        return {
            "model": self.model.description(),
            "with_state": self.assemble.with_state,
            "inference": asdict(self.inference),
            "objective": asdict(self.objective),
        }


def _state(windows: WindowConfig) -> Modality:
    return Modality("state", STATE_SIZE + windows.grip, predicted=False)


def _times_finer(here: Mapping[str, Any], there: Mapping[str, Any]) -> int:
    """Return how many times as fine picture and patches are, 1 if not by one whole number."""
    if not all(name in each for name in _SIZES for each in (here, there)):
        return 1
    times = {divmod(int(here[name]), int(there[name])) for name in _SIZES}
    whole, rest = times.pop()
    return whole if not times and not rest and whole else 1


def predictor_of(
    folder: Path, sections: Mapping[str, Any], normalisation: Normalisation, compute: Compute
) -> VideoActionPredictor:
    """Load the predictor that `VideoActionLearner` described.

    Raises `UserError` where model, tokenizer and text encoder do not fit each other.
    """
    loaded = checkpoint.load(folder)
    tokenizer, text = checkpoint.restored_encoders(sections, folder)
    windows = WindowConfig(**sections["windows"])
    with_state = bool(sections["with_state"])
    assembler = Assembler(tokenizer, text, windows, normalisation, with_state)
    needed = (*assembler.modalities, _ACTION, *((_state(windows),) if with_state else ()))
    for modality in needed:
        stored = loaded.model.modalities.get(modality.name)
        if stored != modality:
            raise UserError(
                f"{folder}: the model reads {stored}, the settings beside it make {modality}."
            )
    inference = Inference(**sections["inference"])
    return VideoActionPredictor(loaded.model.to(compute.device), assembler, inference, compute)
