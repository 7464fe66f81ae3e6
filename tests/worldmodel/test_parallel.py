"""Two processes train as one: gradients, resume, errors, and one format of the state."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from experiment.errors import UserError
from experiment.files import read_records
from tests.worldmodel import processes
from worldmodel.cost import STATE_BYTES
from worldmodel.training.saved_state import read_state

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the same run in one process, and its gradients."""
    folder = tmp_path_factory.mktemp("alone")
    processes.trainer(folder / "straight").run()
    return folder


@pytest.fixture(scope="module", params=["ddp", "fsdp"])
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that two processes trained in."""
    folder = tmp_path_factory.mktemp(request.param)
    for code, _, errors in processes.start(2, str(folder), request.param):
        assert code == 0, errors
    return folder


def test_gradients_are_those_of_one_process(two: Path, tmp_path: Path) -> None:
    one = processes.gradients(processes.trainer(tmp_path))
    other = load_file(two / "gradients.safetensors")
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        assert torch.allclose(gradient, other[name], rtol=1e-4, atol=1e-6), name


def test_passes_have_the_gradients_of_one(tmp_path: Path) -> None:
    one = processes.gradients(processes.trainer(tmp_path / "one"))
    four = processes.gradients(processes.trainer(tmp_path / "four", accumulate=4))
    for name, gradient in one.items():
        assert torch.allclose(gradient, four[name], rtol=1e-4, atol=1e-6), name


def test_runs_are_those_of_one_process(two: Path, alone: Path) -> None:
    one, other = read_state(alone / "straight")[0], read_state(two / "straight")[0]
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        if name.startswith(("model", "teacher")):
            # AdamW divides by the gradient's size, which makes rounding visible.
            assert torch.allclose(tensor, other[name], rtol=1e-2, atol=1e-4), name
    logs = [read_records(folder / "straight/log.jsonl") for folder in (alone, two)]
    assert [r["step"] for r in logs[0]] == [r["step"] for r in logs[1]]
    for first, second in zip(*logs, strict=True):
        for name in first.keys() & {"total", "tokens", "generation", "gradient_norm", "held_out"}:
            assert first[name] == pytest.approx(second[name], rel=1e-3), name


def test_resumed_equals_uninterrupted_bit_for_bit(two: Path) -> None:
    facts = json.loads((two / "facts.json").read_text())
    # One process got the signal, and both stopped after the same step.
    assert facts["stopped"]
    assert facts["stopped_after"] == facts["resumed_from"] == 3
    one, other = read_state(two / "straight")[0], read_state(two / "broken")[0]
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_teacher_has_no_gradient_when_sharded(two: Path) -> None:
    facts = json.loads((two / "facts.json").read_text())
    assert facts["teacher_gradients"] == 0
    assert facts["kind"] == ("DTensor" if "fsdp" in two.name else "Parameter")


def test_a_process_holds_the_bytes_that_the_formula_says(two: Path) -> None:
    held = json.loads((two / "facts.json").read_text())["bytes"]
    # Gradients are not part of what is saved; layers that never had one have no moments.
    whole = sum(tensor.nbytes for tensor in read_state(two / "straight")[0].values())
    weights = sum(p.numel() for p in processes.tiny.model().parameters())
    assert whole <= (STATE_BYTES - 4) * weights + 4096
    # Shards of rows that do not divide differ by a row.
    assert held == (pytest.approx(whole / 2, rel=0.1) if "fsdp" in two.name else whole)


def test_a_state_of_two_is_read_by_one_and_by_four(two: Path, tmp_path: Path) -> None:
    tensors = read_state(two / "straight")[0]
    own = processes.trainer(two / "straight").state.tensors()
    assert own.keys() == tensors.keys()
    assert all(torch.equal(own[name], tensors[name]) for name in own)
    for code, _, errors in processes.start(
        4, str(two / "straight"), str(tmp_path), module="tests.worldmodel.read_by_many"
    ):
        assert code == 0, errors
    four = load_file(tmp_path / "read.safetensors")
    assert four.keys() == tensors.keys()
    assert all(torch.equal(four[name], tensors[name]) for name in four)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("data", "window 7 of the second process is damaged"),
        ("nan", "total is not finite in step 2"),
        ("rights", "could not be written"),
        ("passes", "does not divide the 2 windows"),
    ],
)
def test_what_one_process_meets_ends_all_with_one_sentence(
    case: str, words: str, tmp_path: Path
) -> None:
    ended = processes.start(2, case, str(tmp_path), module="tests.worldmodel.failing_process")
    assert [code for code, _, _ in ended] == [2, 2]
    sentences = [line for _, _, errors in ended for line in errors.splitlines() if "error:" in line]
    assert len(sentences) == 1
    assert words in sentences[0]
    if case == "nan":
        record = json.loads((tmp_path / "run/broken_batch.json").read_text())
        assert [each["instructions"] for each in record["ranks"]] == [
            ["step 2, row 0", "step 2, row 1"], ["step 2, row 2", "step 2, row 3"],
        ]  # fmt: skip
        assert record["ranks"][1]["terms"]["total"] == "nan"
        assert record["ranks"][0]["terms"]["total"] != "nan"
        assert read_state(tmp_path / "run")[1]["step"] == 2


def test_batches_that_cannot_be_shared_out_are_refused() -> None:
    with pytest.raises(UserError, match="batch_size=6 cannot be shared out among 1 processes"):
        processes.dataclasses.replace(processes.CONFIG, accumulate=4).check_batch(6)
