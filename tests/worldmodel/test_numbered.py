"""Which checkpoints are kept."""

from pathlib import Path

import pytest

from experiment.errors import UserError
from worldmodel.training.numbered import CheckpointRule, NumberedCheckpoints


@pytest.mark.parametrize(
    ("settings", "figures", "kept"),
    [
        ({"keep_last": 2}, {}, {400, 500}),
        ({"keep_last": 1, "keep_every": 200}, {}, {200, 400, 500}),
        ({"keep_last": 1}, {100: 0.2, 300: 0.1, 400: 0.1, 450: 0.0}, {300, 500}),
        ({"keep_last": 1, "best": "highest"}, {100: 0.2, 300: 0.1}, {100, 500}),
    ],
)
def test_the_rule_keeps_the_last_the_multiples_and_the_best(
    settings: dict[str, object], figures: dict[int, float], kept: set[int]
) -> None:
    rule = CheckpointRule(every=100, **settings)  # type: ignore[arg-type]
    assert rule.kept([100, 200, 300, 400, 500], figures) == kept


def test_numbered_checkpoints_outlive_the_newest_and_those_in_use_are_spared(
    tmp_path: Path,
) -> None:
    numbered = NumberedCheckpoints(tmp_path, CheckpointRule(every=1, keep_last=1))
    for step in (1, 2, 3):
        new = tmp_path / ".new"
        new.mkdir()
        (new / "config.json").write_text(str(step))
        if (tmp_path / "checkpoint").exists():
            (tmp_path / "checkpoint").rename(tmp_path / f".old{step}")
        new.rename(tmp_path / "checkpoint")
        path = numbered.keep(step)
        assert (path / "config.json").read_text() == str(step)
    assert (numbered.path(1) / "config.json").read_text() == "1"
    numbered.delete_others({}, in_use={1})
    assert numbered.steps() == [1, 3]


def test_bad_rules_are_named() -> None:
    with pytest.raises(UserError, match="keep_last must be at least 1"):
        CheckpointRule(keep_last=0)
    with pytest.raises(UserError, match="lowest or highest"):
        CheckpointRule(best="fastest")  # type: ignore[arg-type]
