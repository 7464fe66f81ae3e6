"""The trainer: resumed equals uninterrupted, signals, log."""

import dataclasses
import functools
import os
import signal
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import load_file

from experiment.errors import UserError
from tests.worldmodel import tiny
from worldmodel.model import Batch, WorldModel
from worldmodel.objective import Objective, losses
from worldmodel.training.curves import read_log
from worldmodel.training.trainer import Trainer, TrainerConfig

pytestmark = pytest.mark.slow

CONFIG = TrainerConfig(steps=12, warmup=3, log_every=4, observe_every=6, device="cpu")
LOSS = functools.partial(losses, settings=Objective(mask_ratio=0.5))


def trainer(
    folder: Path, config: TrainerConfig = CONFIG, stop_at: int | None = None
) -> Trainer[WorldModel, Batch]:
    """Return a trainer; with `stop_at` it is sent SIGTERM while that step is prepared."""
    folder.mkdir(exist_ok=True)

    def batch(step: int) -> Batch:
        if step == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return tiny.batch(seed=step)

    return Trainer(
        tiny.model(),
        LOSS,
        batch,
        config,
        folder,
        0,
        lambda m: {"first": next(m.parameters()).sum().item()},
    )


def without_time(folder: Path) -> list[dict[str, float]]:
    timed = ("seconds", "samples_per_second", "tokens_per_second")
    return [{k: v for k, v in r.items() if k not in timed} for r in read_log(folder / "log.jsonl")]


@pytest.mark.parametrize("stop_at", [2, 3, 7])
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path, stop_at: int) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    assert trainer(straight).run()
    assert not trainer(broken, stop_at=stop_at).run()
    again = trainer(broken)
    assert again.step == stop_at + 1
    assert again.run()
    one, other = load_file(straight / "state.safetensors"), load_file(broken / "state.safetensors")
    assert one.keys() == other.keys()
    assert {name.split("/")[0] for name in one} == {"model", "teacher", "optimiser"}
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert without_time(straight) == without_time(broken)
    assert [r["step"] for r in read_log(broken / "log.jsonl")] == [4, 6, 8, 12, 12]


def test_work_after_the_last_save_is_done_and_logged_again(tmp_path: Path) -> None:
    # A kill -9 in step 10: the state on disk is that of step 3, the log is ahead of it.
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    trainer(straight).run()
    trainer(killed, stop_at=2).run()
    saved = (killed / "state.safetensors").read_bytes()
    trainer(killed, stop_at=9).run()
    (killed / "state.safetensors").write_bytes(saved)
    with (killed / "log.jsonl").open("a") as log:
        log.write('{"step": 1')
    trainer(killed).run()
    assert without_time(killed) == without_time(straight)


def test_a_signal_saves_and_the_old_handlers_come_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    stopped = trainer(tmp_path / "run", stop_at=4)
    assert not stopped.run()
    assert stopped.step == 5
    assert (tmp_path / "run/state.safetensors").exists()
    assert signal.getsignal(signal.SIGTERM) is before


def test_finished_runs_end_at_once_and_leave_curves(tmp_path: Path) -> None:
    trainer(tmp_path / "run").run()
    again = trainer(tmp_path / "run")
    assert again.finished
    assert again.run()
    assert (tmp_path / "run/curves.png").read_bytes().startswith(b"\x89PNG")
    record = read_log(tmp_path / "run/log.jsonl")[-2]
    for name in ("total", "generation", "representation", "cosine", "tokens_per_second"):
        assert name in record


def test_exports_are_of_the_averaged_model(tmp_path: Path) -> None:
    exported = []
    run = Trainer(
        tiny.model(), LOSS, lambda step: tiny.batch(seed=step), CONFIG, tmp_path, 0,
        export=lambda model, step, _: exported.append((model, step)),
    )  # fmt: skip
    run.run()
    assert exported == [(run.teacher.model, 12)]
    assert not torch.equal(run.teacher.model.text.out.weight, run.model.text.out.weight)


def test_the_rate_warms_up_and_falls_to_nothing() -> None:
    rates = [dataclasses.replace(CONFIG, steps=100, warmup=10).rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(CONFIG.learning_rate / 10, rel=1e-3)
    assert max(rates) == pytest.approx(CONFIG.learning_rate, rel=0.05)
    assert rates[-1] < 0.01 * CONFIG.learning_rate
    constant = dataclasses.replace(CONFIG, schedule="constant")
    assert constant.rate(11) == CONFIG.learning_rate


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    def loss(model: WorldModel, *_: object) -> dict[str, torch.Tensor]:
        return {"total": next(model.parameters()).sum() * float("nan")}

    run = Trainer(tiny.model(), loss, lambda _: tiny.batch(), CONFIG, tmp_path, 0)
    with pytest.raises(UserError, match="no longer finite at step 4"):
        run.run()
    assert not (tmp_path / "state.safetensors").exists()


def test_a_state_that_does_not_fit_is_named(tmp_path: Path) -> None:
    trainer(tmp_path, stop_at=1).run()
    other = tiny.model(config=dataclasses.replace(tiny.CONFIG, depth=3))
    with pytest.raises(UserError, match=r"state.safetensors does not fit this run"):
        Trainer(other, LOSS, lambda _: tiny.batch(), CONFIG, tmp_path, 0)
    path = tmp_path / "state.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"state.safetensors is truncated"):
        trainer(tmp_path)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_precision_is_that_of_products_not_of_weights_or_losses(
    tmp_path: Path, precision: Literal["float32", "bfloat16"]
) -> None:
    kinds = []

    def loss(model: WorldModel, *arguments: Any) -> dict[str, torch.Tensor]:
        parts = losses(model, *arguments, settings=Objective())
        kinds.append((model.projection(torch.zeros(1, 32)).dtype, parts["total"].dtype))
        return parts

    config = dataclasses.replace(CONFIG, steps=1, precision=precision)
    run = Trainer(tiny.model(), loss, lambda _: tiny.batch(), config, tmp_path, 0)
    run.run()
    assert kinds == [(getattr(torch, precision), torch.float32)]
    assert {parameter.dtype for parameter in run.model.parameters()} == {torch.float32}


def test_bad_settings_are_named() -> None:
    for change, words in (
        ({"steps": 0}, "steps=0 must be at least 1"),
        ({"schedule": "linear"}, "cosine or constant"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"precision": "float16"}, "auto, float32 or bfloat16"),
    ):
        with pytest.raises(UserError, match=words):
            dataclasses.replace(CONFIG, **change)
    with pytest.raises(UserError, match="is not usable here"):
        Trainer(
            tiny.model(), LOSS, lambda _: tiny.batch(),
            dataclasses.replace(CONFIG, device="cuda:77"), Path("unused"), 0,
        )  # fmt: skip
