"""The teacher: an average that starts as a copy."""

import torch

from tests.worldmodel import tiny
from worldmodel.teacher import Teacher, features


def test_the_average_warms_up_to_its_decay() -> None:
    student = torch.nn.Linear(2, 2)
    teacher = Teacher(student, decay=0.9)
    start = student.weight.detach().clone()
    with torch.no_grad():
        student.weight += 1.0
    teacher.update(student, step=0)
    torch.testing.assert_close(teacher.model.weight, start + 0.9)
    teacher.update(student, step=10_000)
    torch.testing.assert_close(teacher.model.weight, start + 0.91)


def test_without_warm_up_the_decay_is_the_same_at_all_steps() -> None:
    teacher = Teacher(torch.nn.Linear(2, 2), decay=0.9, warmup=0)
    assert [teacher.decay_at(step) for step in (0, 1, 10_000)] == [0.9] * 3
    warmed = Teacher(torch.nn.Linear(2, 2), decay=0.9999, warmup=10)
    assert warmed.decay_at(900) == 901 / 910


def test_the_teacher_is_a_copy_without_gradients() -> None:
    student = tiny.model()
    teacher = Teacher(student, 0.9)
    batch = tiny.batch()
    before = features(teacher, batch)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.zero_()
    assert torch.equal(features(teacher, batch), before)
    assert not before.requires_grad
