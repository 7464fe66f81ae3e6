"""Evaluation on a toy world: records, resume, refusal of another run's folder."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from envs.episode import Episode, EpisodeRecord
from envs.rollout import run_episode
from envs.workers import grouped
from experiment.errors import UserError
from experiment.settings import ROOT, compose, plain
from policies.checkpoint import shipped
from policies.eval import main
from policies.evaluation import run
from policies.evaluation.protocol import Protocol, episodes
from policies.evaluation.run import RECORDS, Evaluation, evaluate
from policies.evaluation.settings import EvalSettings
from policies.evaluation.tables import published_lines
from tests.envs import toy_tasks
from tests.envs.toy import ToyPolicy

pytestmark = pytest.mark.slow

TOY = {"_target_": "tests.envs.toy.ToyEnv"}


def evaluation(count: int, policy: str = "ToyPolicy", **arguments: object) -> Evaluation:
    return Evaluation(
        episodes=episodes(Protocol("default", ["a0", "b0", "c0"]), "toy", count),
        env=TOY,
        policy={"_target_": f"tests.envs.toy.{policy}", **arguments},
    )


def settings(*overrides: str) -> EvalSettings:
    return EvalSettings.of(plain(compose("eval", ["policy=random", *overrides]))).completed()


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "policies.eval", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def indices(path: Path) -> list[int]:
    return [int(line.split('"index": ')[1].split(",")[0]) for line in path.read_text().splitlines()]


def test_the_camera_is_as_fine_as_the_pictures_of_the_policy(tmp_path: Path) -> None:
    assert settings().resolution == [160, 128]
    assert settings("resolution=null").env["resolution"] is None
    folder = shutil.copytree(shipped("stack_cube"), tmp_path / "policy")
    sections = json.loads((folder / "config.json").read_text())
    for width, height, camera in ((128, 96, [160, 128]), (256, 192, [320, 256])):
        sections["tokenizer"] |= {"width": width, "height": height}
        (folder / "config.json").write_text(json.dumps(sections))
        made = ("task=stack_cube", "policy=checkpoint", f"checkpoint={folder}")
        assert settings(*made).env["resolution"] == camera
        assert settings(*made, "resolution=[64,48]").original["resolution"] == [64, 48]


def test_records_videos_sheet_and_summary(tmp_path: Path) -> None:
    records = evaluate(evaluation(3), tmp_path)
    assert [r.index for r in records] == [0, 1, 2]
    assert [r.robot_pose for r in records] == ["a0", "b0", "c0"]
    assert len(list((tmp_path / "videos").glob("*.mp4"))) == 3
    assert {p.name for p in tmp_path.iterdir()} == {
        RECORDS, "videos", "summary.json", "contact_sheet.png", "report.html",
    }  # fmt: skip


def test_a_run_that_broke_off_goes_on(tmp_path: Path) -> None:
    """The third episode kills the run; the next run repeats neither of the first two."""
    third = evaluation(3).episodes[2].seed
    with pytest.raises(UserError, match="step 8"):
        evaluate(evaluation(4, "BrokenPolicy", how="nan", seed=third), tmp_path)
    log = tmp_path / RECORDS
    before = log.read_text()
    assert indices(log) == [0, 1]

    log.write_text(before + before[:30])  # a kill in the middle of a line
    resumed = evaluate(evaluation(4), tmp_path)
    assert indices(log) == [0, 1, 2, 3]
    assert log.read_text().startswith(before)

    straight = evaluate(evaluation(4), tmp_path / "straight")
    assert outcomes(resumed) == outcomes(straight)


def outcomes(records: Sequence[object]) -> list[tuple[object, ...]]:
    fields = (
        "task", "variant", "index", "seed", "robot_pose", "options",
        "success_at_end", "success_ever", "steps",
    )  # fmt: skip
    return [tuple(getattr(record, field) for field in fields) for record in records]


def several(count: int, policy: str = "TaskPolicy", **arguments: object) -> Evaluation:
    """An evaluation of tasks and variants, each with an environment and a policy of its own."""
    return Evaluation(
        episodes=episodes(Protocol("variant_aggregation"), "open_drawer", count),
        env={"_target_": "tests.envs.toy_tasks.ToyTask", "task": None, "variant": None},
        policy={"_target_": f"tests.envs.toy_tasks.{policy}", "task": None, **arguments},
        protocol="variant_aggregation",
    )


def test_several_tasks_in_one_run(tmp_path: Path) -> None:
    log = tmp_path / "log"
    one = several(9)
    records = evaluate(replace(one, env={**one.env, "log": str(log)}), tmp_path)
    tasks = {"open_top_drawer", "open_middle_drawer", "open_bottom_drawer"}
    assert {r.task for r in records} == tasks
    for record in records:
        assert record.statistics == {"task": record.task, "variant": record.variant}
        assert record.policy == f"toy of {record.task}"
    # Every environment once, whatever the order of the list.
    built = [line for line in log.read_text().splitlines() if line.startswith("built")]
    assert len(built) == len(set(built)) == 9
    names = {path.name for path in (tmp_path / "videos").iterdir()}
    assert names == {f"{r.task}_{r.index:04d}.mp4" for r in records}
    assert len(names) == 9


def test_a_run_over_several_tasks_that_broke_off_goes_on(tmp_path: Path) -> None:
    evaluation = several(9)
    fifth = grouped(evaluation.episodes)[4].seed
    with pytest.raises(UserError, match="NaN"):
        evaluate(several(9, "BrokenTaskPolicy", seed=fifth), tmp_path)
    before = (tmp_path / RECORDS).read_text()
    assert len(before.splitlines()) == 4
    resumed = evaluate(evaluation, tmp_path)
    after = (tmp_path / RECORDS).read_text()
    assert after.startswith(before)
    assert len(after.splitlines()) == 9
    assert len({outcome[:3] for outcome in outcomes(resumed)}) == 9
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["episodes"] == 9
    assert [line["name"] for line in summary["table"]] == [
        "open_top_drawer", "open_middle_drawer", "open_bottom_drawer", "open_drawer",
    ]  # fmt: skip
    assert summary["table"][-1]["success_ever"]["total"] == 9


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    evaluate(evaluation(2), tmp_path)
    before = (tmp_path / RECORDS).read_bytes()
    assert len(evaluate(evaluation(2, "BrokenPolicy", how="raise"), tmp_path)) == 2
    assert (tmp_path / RECORDS).read_bytes() == before


def test_other_weights_are_other_settings(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes(b"some")
    (checkpoint / "config.json").write_text('{"kind": "video_action", "robot": "google_robot"}')
    of = ("policy=checkpoint", f"checkpoint={checkpoint}", "out=x")
    before = settings(*of)
    (checkpoint / "model.safetensors").write_bytes(b"others")
    after = settings(*of)
    assert before.weights != after.weights
    assert replace(after, weights=before.weights) == before
    of_run = settings("policy=checkpoint", f"checkpoint={tmp_path}", "out=x")
    assert of_run == replace(after, checkpoint=str(tmp_path))


def test_a_folder_that_is_deleted_meanwhile_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, lines = run.append_line, 0

    def deleting(log: Path, line: str) -> None:
        nonlocal lines
        append(log, line)
        lines += 1
        if lines == 2:
            shutil.rmtree(log.parent)

    monkeypatch.setattr(run, "append_line", deleting)
    with pytest.raises(UserError, match="was deleted or emptied"):
        evaluate(evaluation(4), tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["task=open_and_plac"], "Did you mean 'open_and_place'"),
        (["policy=orakle"], "Did you mean 'oracle'"),
        (["episode=3"], "unknown setting 'episode'. Did you mean 'episodes'"),
        (["policy=random", "policy.chunks=3"], "Did you mean 'policy.chunk'"),
        (["policy=random", "seed=abc"], "seed"),
        (["policy=random", "checkpoint=x"], "means nothing to this policy"),
        (
            ["task=stack_cube", "checkpoint=policies/checkpoints/google_robot"],
            "is a policy of robot google_robot, but task stack_cube has robot widowx",
        ),
        (["checkpoint=nowhere"], "checkpoint nowhere was not found"),
        (["protocol=visual_matching", "task=pick_object"], "no episodes of task pick_object"),
        (
            ["protocol=variant_aggregation", "task=stack_cube", "--list"],
            "no episodes of task stack",
        ),
        (["protocol=visual_matchin"], "Did you mean 'visual_matching'"),
        (["protocol=self_flow_paper", "episodes=101", "--list"], "has 100 here"),
        (["task=all"], "is for one task"),
        (
            ["policy=random", "backend=orignal"],
            "unknown backend 'orignal'. Did you mean 'original'",
        ),
        (["episodes"], "key=value"),
        (["--episodes", "3"], "key=value"),
    ],
)
def test_bad_settings_get_one_sentence(
    arguments: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_the_shipped_settings_run_one_task_on_after_success() -> None:
    evaluation = settings().evaluation()
    assert len(evaluation.episodes) == 30
    assert {e.task for e in evaluation.episodes} == {"open_and_place"}
    assert evaluation.env["_target_"] == "envs.simpler.make"
    assert evaluation.env["terminate_on_success"] is False
    assert evaluation.reference is not None


def test_the_papers_figures_stand_beside_lines_of_the_table() -> None:
    evaluation = settings("protocol=self_flow_paper", "policy=oracle").evaluation()
    assert evaluation.reference is not None
    records = [blank_record(episode) for episode in evaluation.episodes]
    names = {line.name for line in published_lines(records)}
    assert set(evaluation.reference.rates) < names


def blank_record(episode: Episode) -> EpisodeRecord:
    return run_episode(toy_tasks.ToyTask(episode.task), ToyPolicy(), episode, max_steps=1)


def test_the_original_simulator_is_a_back_end() -> None:
    chosen = settings("backend=original", "original.python=/there/bin/python").evaluation()
    assert chosen.env["_target_"] == "envs.original.make"
    assert chosen.env["python"] == "/there/bin/python"


def test_a_policy_that_ends_its_process_ends_the_command_with_a_sentence(tmp_path: Path) -> None:
    toy = ["env._target_=tests.policies.toy_task.make", "episodes=2", "workers=1"]
    seed = episodes(Protocol(), "open_and_place", 1)[0].seed
    exits = ["policy=tests.envs.toy.BrokenPolicy", "+policy.how=sys_exit", f"+policy.seed={seed}"]
    bad = command(*exits, *toy, f"out={tmp_path / 'run'}")
    assert bad.returncode == 2
    assert "episode 0 of open_and_place" in bad.stderr
    assert "called sys.exit(0)" in bad.stderr
    assert "Traceback" not in bad.stderr


def test_the_command_evaluates_any_class_and_names_a_missing_one(tmp_path: Path) -> None:
    out = f"out={tmp_path / 'run'}"
    toy = ["env._target_=tests.policies.toy_task.make", "episodes=3", "workers=1", out]
    good = command("policy=tests.envs.toy.ToyPolicy", "+policy.chunk=5", *toy)
    assert good.returncode == 0, good.stderr
    assert "paper" in good.stdout
    bad = command("policy=tests.envs.toy.NoPolicy", *toy[:-1], f"out={tmp_path / 'other'}")
    assert bad.returncode == 2
    assert "error: 'tests.envs.toy' has no 'NoPolicy'" in bad.stderr
    assert "Traceback" not in bad.stderr
