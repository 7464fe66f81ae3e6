"""Dreams of a policy beside the episodes that it ran."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from envs.episode import Episode
from envs.rollout import run_episode
from experiment.errors import UserError
from experiment.settings import compose, plain
from policies.checkpoint import load_policy
from policies.evaluation.dreams import DreamRecorder, dreams_path
from policies.evaluation.page import write_page
from policies.evaluation.settings import EvalSettings
from tests.envs.toy import LIMIT, ToyEnv


def dreamt(checkpoint: Path, folder: Path, moments: int = 2) -> Path:
    recorder = DreamRecorder(folder, str(checkpoint), moments)
    episode = Episode("open_and_place", 3, seed=4)
    record = run_episode(ToyEnv(), load_policy(str(checkpoint)), episode, [recorder])
    assert record.steps == LIMIT
    write_page(folder / "report.html", [record], "default", None, folder, dreams=folder)
    return dreams_path(folder, "open_and_place", 3)


def test_an_episode_gets_a_picture_that_the_report_holds(toy_run: Path, tmp_path: Path) -> None:
    checkpoint = toy_run / "checkpoint"
    if '"kind": "regression"' in (checkpoint / "config.json").read_text():
        with pytest.raises(UserError, match="has no world model"):
            DreamRecorder(tmp_path, str(checkpoint), 2)
        return
    path = dreamt(checkpoint, tmp_path)
    picture = np.asarray(Image.open(path))
    assert picture.std() > 10
    assert "What its world model expected" in (tmp_path / "report.html").read_text()
    assert path.read_bytes() == dreamt(checkpoint, tmp_path / "again").read_bytes()
    taller = np.asarray(Image.open(dreamt(checkpoint, tmp_path / "more", moments=3)))
    assert len(taller) > len(picture)


def test_the_setting_is_for_policies_that_dream() -> None:
    def recorders(*arguments: str) -> int:
        settings = EvalSettings.of(plain(compose("eval", arguments)))
        return len(settings.completed().evaluation().recorders)

    assert recorders("dreams=2") == 1
    assert recorders() == 0
    for wrong in (["dreams=1", "policy=oracle"], ["dreams=-1"]):
        with pytest.raises(UserError, match="number of moments"):
            recorders(*wrong)
