"""The path between data and noise."""

import pytest
import torch

from worldmodel.path import Prediction, interpolate, velocity, velocity_error

X0, X1 = torch.randn(2, 3, 4), torch.randn(2, 3, 4)


def test_time_0_is_data_and_time_1_is_noise() -> None:
    tau = torch.tensor([[0.0, 1.0, 0.25]]).expand(2, 3)
    x = interpolate(X0, X1, tau)
    assert torch.equal(x[:, 0], X0[:, 0])
    assert torch.equal(x[:, 1], X1[:, 1])
    torch.testing.assert_close(x[:, 2], 0.75 * X0[:, 2] + 0.25 * X1[:, 2])


@pytest.mark.parametrize("kind", ["x", "v"])
def test_the_true_answer_has_no_error_and_the_true_velocity(kind: Prediction) -> None:
    tau = torch.full((2, 3), 0.4)
    truth = X0 if kind == "x" else X1 - X0
    assert velocity_error(truth, X0, X1, tau, kind).abs().max() == 0
    found = velocity(truth, interpolate(X0, X1, tau), 0.4, kind)
    torch.testing.assert_close(found, X1 - X0)


def test_both_kinds_of_prediction_weigh_the_same_error_alike() -> None:
    tau = torch.full((2, 3), 0.4)
    guess = torch.randn(2, 3, 4)
    as_velocity = velocity(guess, interpolate(X0, X1, tau), 0.4, "x")
    torch.testing.assert_close(
        velocity_error(guess, X0, X1, tau, "x"), velocity_error(as_velocity, X0, X1, tau, "v")
    )
