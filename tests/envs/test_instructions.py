"""The instructions of SIMPLER's 25 tasks, without a simulator: every object, drawer and subtask."""

import warnings
from collections.abc import Iterator
from itertools import permutations, product
from types import SimpleNamespace

import torch

from envs.simpler.assets.catalogues import CATALOGUES
from envs.simpler.scenes import SCENES
from envs.simpler.scenes.names import object_name
from envs.simpler.tasks.registry import TASKS, TaskSpec
from worldmodel.text.words import HashedWords


def instructions(task: TaskSpec) -> Iterator[str]:
    """Yield what the task's scene says for each object, pair of objects, drawer and subtask."""
    models = task.models or CATALOGUES[task.catalogue]
    pairs = permutations(models, 2) if task.family == "move_near" else ((m, "") for m in models)
    for (model, target), drawer, subtask in product(pairs, task.drawers or ("",), (0, 1)):
        scene = SimpleNamespace(
            task=task,
            starts=[SimpleNamespace(layout=SimpleNamespace(models=(model,)))],
            rule=SimpleNamespace(subtask=[subtask]),
            drawer_of=lambda _, drawer=drawer: drawer,
            names=lambda _, pair=(model, target): tuple(map(object_name, pair)),
        )
        yield SCENES[task.family].instruction(scene, 0)  # type: ignore[arg-type]


def test_hashed_words_cut_no_instruction_of_the_tasks() -> None:
    assert len(TASKS) == 25
    texts = {text for task in TASKS.values() for text in instructions(task)}
    assert {
        "open top drawer", "place apple into top drawer", "close middle drawer", "pick coke can",
        "move apple near 7up can", "put carrot on plate",
    } <= texts  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HashedWords().embed(sorted(texts), torch.device("cpu"))
