"""The trainer: resumed equals uninterrupted, signals, log."""

import dataclasses
import functools
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import pytest
import torch

from experiment.errors import UserError
from experiment.files import read_records
from tests.worldmodel import tiny
from worldmodel.loss import losses
from worldmodel.model import WorldModel
from worldmodel.objective import Objective
from worldmodel.teacher import Teacher
from worldmodel.tokens import Batch
from worldmodel.training.saved_state import read_state
from worldmodel.training.trainer import Trainer, TrainerConfig

pytestmark = pytest.mark.slow

CONFIG = TrainerConfig(steps=12, warmup=3, log_every=4, observe_every=6, device="cpu")
LOSS = functools.partial(losses, settings=Objective(mask_ratio=0.5))


@dataclasses.dataclass(frozen=True)
class Step:
    """Stands for the windows of a step."""

    number: int
    instructions: list[str] = dataclasses.field(default_factory=lambda: list(tiny.INSTRUCTIONS))

    def to(self, device: torch.device | str) -> "Step":  # noqa: ARG002
        return self

    def rows(self, chosen: slice) -> "Step":
        return dataclasses.replace(self, instructions=self.instructions[chosen])


def made(
    folder: Path,
    config: TrainerConfig = CONFIG,
    windows: Callable[[int], Step] = Step,
    model: WorldModel | None = None,
    loss: Any = LOSS,
    **calls: Any,
) -> Trainer[WorldModel, Step, Batch]:
    state = config.state(model or tiny.model())

    def assemble(step: Step) -> Batch:
        return tiny.batch(seed=step.number)

    return Trainer(state, assemble, loss, windows, config, folder, 0, **calls)


def trainer(
    folder: Path, config: TrainerConfig = CONFIG, stop_at: int | None = None
) -> Trainer[WorldModel, Step, Batch]:
    """Return a trainer; with `stop_at` it is sent SIGTERM while that step is prepared."""
    folder.mkdir(exist_ok=True)

    def windows(step: int) -> Step:
        if step == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return Step(step)

    return made(
        folder, config, windows, observe=lambda m: {"first": next(m.parameters()).sum().item()}
    )


def without_time(folder: Path) -> list[dict[str, float]]:
    timed = ("seconds", "samples_per_second", "tokens_per_second", "data_wait", "memory_gb")
    return [
        {k: v for k, v in r.items() if k not in timed} for r in read_records(folder / "log.jsonl")
    ]


@pytest.mark.parametrize(
    ("stop_at", "optimiser"), [(2, "adamw"), (3, "adamw"), (7, "adamw"), (7, "muon")]
)
def test_resumed_equals_uninterrupted_bit_for_bit(
    tmp_path: Path, stop_at: int, optimiser: Literal["adamw", "muon"]
) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    config = dataclasses.replace(CONFIG, optimiser=optimiser)
    assert trainer(straight, config).run()
    assert not trainer(broken, config, stop_at=stop_at).run()
    again = trainer(broken, config)
    assert again.step == stop_at + 1
    assert again.run()
    one, other = read_state(straight)[0], read_state(broken)[0]
    assert one.keys() == other.keys()
    assert {name.split("/")[0] for name in one} == {"model", "teacher", "optimiser"}
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert without_time(straight) == without_time(broken)
    assert [r["step"] for r in read_records(broken / "log.jsonl")] == [4, 6, 8, 12, 12]


def test_work_after_the_last_save_is_done_and_logged_again(tmp_path: Path) -> None:
    # A kill -9 in step 10: the state on disk is that of step 3, the log is ahead of it.
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    trainer(straight).run()
    trainer(killed, stop_at=2).run()
    shutil.copytree(killed / "state", tmp_path / "saved")
    trainer(killed, stop_at=9).run()
    shutil.rmtree(killed / "state")
    shutil.copytree(tmp_path / "saved", killed / "state")
    with (killed / "log.jsonl").open("a") as log:
        log.write('{"step": 1')
    trainer(killed).run()
    assert without_time(killed) == without_time(straight)


def test_a_signal_saves_and_the_old_handlers_come_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    stopped = trainer(tmp_path / "run", stop_at=4)
    assert not stopped.run()
    assert stopped.step == 5
    assert read_state(tmp_path / "run")[1]["step"] == 5
    assert signal.getsignal(signal.SIGTERM) is before


def test_finished_runs_end_at_once_and_leave_curves(tmp_path: Path) -> None:
    trainer(tmp_path / "run").run()
    again = trainer(tmp_path / "run")
    assert again.finished
    assert again.run()
    assert (tmp_path / "run/curves.png").read_bytes().startswith(b"\x89PNG")
    record = read_records(tmp_path / "run/log.jsonl")[-2]
    for name in ("total", "generation", "representation", "cosine", "tokens_per_second"):
        assert name in record
    assert record["ema_span"] == pytest.approx(21 / 9)  # after step 11: decay 12 / 21


def test_exports_are_of_the_averaged_model(tmp_path: Path) -> None:
    exported = []
    run = made(tmp_path, export=lambda model, step, _: exported.append((model, step)))
    run.run()
    assert exported == [(run.state.teacher.model, 12)]
    averaged, last = (
        cast(torch.Tensor, cast(torch.nn.Sequential, model.inputs["text"])[1].weight)
        for model in (run.state.teacher.model, run.state.model)
    )
    assert not torch.equal(averaged, last)


def test_the_rate_warms_up_and_falls_to_nothing() -> None:
    rates = [dataclasses.replace(CONFIG, steps=100, warmup=10).rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(CONFIG.learning_rate / 10, rel=1e-3)
    assert max(rates) == pytest.approx(CONFIG.learning_rate, rel=0.05)
    assert rates[-1] < 0.01 * CONFIG.learning_rate
    constant = dataclasses.replace(CONFIG, schedule="constant")
    assert constant.rate(11) == CONFIG.learning_rate


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    calls = iter(range(100))

    def loss(model: WorldModel, *_: object) -> dict[str, torch.Tensor]:
        factor = float("nan") if next(calls) == 6 else 1.0
        return {"total": next(model.parameters()).sum() * factor}

    config = dataclasses.replace(CONFIG, log_every=100, save_seconds=0.0)
    run = made(tmp_path, config, loss=loss)
    with pytest.raises(UserError, match=r"total is not finite in step 6, whose batch .* names"):
        run.run()
    kept = read_state(tmp_path)[0]
    assert all(tensor.isfinite().all() for tensor in kept.values())
    named = json.loads((tmp_path / "broken_batch.json").read_text())
    assert (named["step"], named["seed"]) == (6, 0)
    assert named["instructions"] == list(tiny.INSTRUCTIONS)


def test_weights_that_are_not_finite_never_replace_good_ones(tmp_path: Path) -> None:
    run = trainer(tmp_path, stop_at=2)
    run.run()
    good = read_state(tmp_path)[0]
    with torch.no_grad():
        next(run.state.teacher.model.parameters()).fill_(float("inf"))
    with pytest.raises(UserError, match=r"teacher/.* is no longer finite at step 3"):
        run.save()
    kept = read_state(tmp_path)[0]
    assert all(torch.equal(kept[name], good[name]) for name in good)


def test_a_state_that_does_not_fit_is_named(tmp_path: Path) -> None:
    trainer(tmp_path, stop_at=1).run()
    other = tiny.model(config=dataclasses.replace(tiny.CONFIG, depth=3))
    with pytest.raises(UserError, match=r"state/.* does not fit this run"):
        made(tmp_path, model=other)
    (path,) = tmp_path.glob("state/*/*.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"state/.* is truncated"):
        trainer(tmp_path)
    (tmp_path / "state.safetensors").touch()
    shutil.rmtree(tmp_path / "state")
    with pytest.raises(UserError, match="of an earlier version"):
        trainer(tmp_path)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_precision_is_that_of_products_not_of_weights_or_losses(
    tmp_path: Path, precision: Literal["float32", "bfloat16"]
) -> None:
    kinds = []

    def loss(
        model: WorldModel,
        teacher: Teacher[WorldModel] | None,
        batch: Batch,
        generator: torch.Generator,
    ) -> dict[str, torch.Tensor]:
        parts = losses(model, teacher, batch, generator, Objective())
        kinds.append((model.projection(torch.zeros(1, 32)).dtype, parts["total"].dtype))
        return parts

    config = dataclasses.replace(CONFIG, steps=1, precision=precision)
    run = made(tmp_path, config, loss=loss)
    run.run()
    assert kinds == [(getattr(torch, precision), torch.float32)]
    assert {parameter.dtype for parameter in run.state.model.parameters()} == {torch.float32}


def test_bad_settings_are_named() -> None:
    for change, words in (
        ({"steps": 0}, "steps=0 must be at least 1"),
        ({"schedule": "linear"}, "cosine or constant"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"ema_warmup": -1}, "ema_warmup"),
    ):
        with pytest.raises(UserError, match=words):
            dataclasses.replace(CONFIG, **change)
    for name, value, words in (
        ("device", "cuda:77", "is not usable here"),
        ("precision", "float16", "auto, float32 or bfloat16"),
    ):
        with pytest.raises(UserError, match=words):
            dataclasses.replace(CONFIG, **{name: value}).state(tiny.model())  # type: ignore[arg-type]
