"""Adapters: every data set's action to the action of the house and back."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from experiment.errors import UserError
from experiment.settings import CONFIGS, build, compose
from tests.worldmodel import rlds_records as made
from tests.worldmodel.toy_episodes import ToyEpisode, ToyEpisodes, toy_adapter
from worldmodel.data.adapter import ActionMap, Adapter, from_closing, to_closing
from worldmodel.data.columns import Part
from worldmodel.data.formats.episode import Column, DamagedRecord
from worldmodel.data.formats.rlds import RldsEpisodes
from worldmodel.data.formats.storage import Storage
from worldmodel.data.rotations import from_rotation_vector, to_rotation_vector

ADAPTERS = sorted((CONFIGS / "adapter").glob("*.yaml"))


def load(path: Path) -> Adapter:
    return build(OmegaConf.load(path), Adapter)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: path.stem)
def test_every_adapter_goes_to_the_house_and_back(path: Path) -> None:
    adapter = load(path)
    assert adapter.name == path.stem
    rng = np.random.default_rng(0)
    moved = adapter.action
    actions = rng.uniform(-0.4, 0.4, (50, 7))
    actions[:, 6] = rng.uniform(-1, 1, 50)
    if not moved.rotation:
        actions[:, 3:6] = 0
    if not moved.gripper:
        actions[:, 6] = 0
    again = moved.forth(moved.back(actions))
    np.testing.assert_allclose(again, actions, atol=1e-9)


@pytest.mark.parametrize("kind", ["closed", "open", "closing", "opening"])
def test_plus_one_closes(kind: str) -> None:
    written = {"closed": 1.0, "open": 0.0, "closing": 1.0, "opening": -1.0}[kind]
    values = np.array([[written]])
    assert to_closing(values, kind) == 1.0
    assert from_closing(to_closing(values, kind), kind) == written


def test_rotations_agree_with_transforms3d() -> None:
    from transforms3d.euler import euler2mat
    from transforms3d.quaternions import axangle2quat, mat2quat

    rng = np.random.default_rng(1)
    for rpy in rng.uniform(-1.4, 1.4, (30, 3)):
        vector = to_rotation_vector(rpy[None], "rpy")[0]
        angle = float(np.linalg.norm(vector))
        quaternion = axangle2quat(vector / angle, angle)
        expected = mat2quat(euler2mat(*rpy, "sxyz"))
        assert abs(float(quaternion @ expected)) == pytest.approx(1.0)
        w, x, y, z = expected
        other = to_rotation_vector(np.array([[x, y, z, w]]), "quaternion_xyzw")[0]
        np.testing.assert_allclose(other, vector, atol=1e-9)
        np.testing.assert_allclose(from_rotation_vector(vector[None], "rpy")[0], rpy, atol=1e-9)
    np.testing.assert_array_equal(to_rotation_vector(np.zeros((2, 3)), "rpy"), np.zeros((2, 3)))


def test_parts_of_columns() -> None:
    assert Part.of("action/world_vector").where == slice(None, None)
    assert Part.of("action[3:6]").where == slice(3, 6)
    assert Part.of("action[6]").where == slice(6, 7)
    rows = np.arange(14.0).reshape(2, 7)
    assert rows[:, Part.of("state[-1]").where].tolist() == [[6.0], [13.0]]
    for wrong in ("", "[3]", "action[", "action[]"):
        with pytest.raises(UserError, match="adapter"):
            Part.of(wrong)


def test_scales_and_missing_axes() -> None:
    action = ActionMap("a[0:2]", rotation_kind="none", scale_translation=0.02)
    forth = action.forth({"translation": np.array([[1.0, -2.0]])})
    np.testing.assert_allclose(forth, [[0.02, -0.04, 0, 0, 0, 0, 0]])


def test_the_first_step_of_bridge_is_left_out() -> None:
    adapter = toy_adapter(skip_first=1)
    episodes = ToyEpisodes((5,))
    episode = episodes[0]
    assert adapter.lengths(episodes.lengths).tolist() == [4]
    np.testing.assert_allclose(adapter.actions(episode)[:, 1], [0.001, 0.002, 0.003, 0.004])
    assert adapter.images(episode, [0, 3])[:, 0, 0, 0].tolist() == [1, 4]
    assert adapter.instructions(episode) == ["do 0"] * 4
    assert adapter.states(episode).shape == (4, 2)


def test_what_is_not_finite_names_record_and_step() -> None:
    rows = np.zeros((4, 7), dtype=np.float32)
    rows[2, 3] = np.nan
    episode = ToyEpisodes((4,), values={"action": rows})[0]
    with pytest.raises(DamagedRecord, match="toy record 0: the action of step 2 is not finite"):
        toy_adapter().actions(episode)


def test_missing_columns_are_named_with_the_nearest() -> None:
    columns = ToyEpisodes((4,)).columns
    with pytest.raises(UserError, match=r"no column 'imag' .* Did you mean 'image'"):
        toy_adapter(image="imag").check(columns, "toy")
    with pytest.raises(UserError, match="column 'text' holds text, adapter toy reads it as image"):
        toy_adapter(image="text").check(columns, "toy")
    toy_adapter(instruction="").check({k: v for k, v in columns.items() if k != "text"}, "toy")


@pytest.mark.parametrize(
    "settings",
    [
        {"rotation": "a", "rotation_kind": "none"},
        {"rotation": "a", "rotation_kind": "euler"},
        {"rotation_kind": "none", "gripper": "a"},
        {"rotation_kind": "none", "gripper": "a", "gripper_kind": "shut"},
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(UserError):
        ActionMap("a", **settings)  # type: ignore[arg-type]


def test_colours_that_are_changed_over_are_put_right() -> None:
    picture = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    picture[..., 0] = 200

    class Red(ToyEpisode):
        def images(self, column: str, steps: np.ndarray | None = None) -> np.ndarray:  # noqa: ARG002
            return picture

    episode = Red(0, 2, False, ToyEpisodes((2,)))
    right = toy_adapter(channels="bgr").images(episode, [0, 1])
    assert right[0, 0, 0].tolist() == [0, 0, 200]
    assert right.flags["C_CONTIGUOUS"]
    assert toy_adapter().images(episode, [0, 1])[0, 0, 0].tolist() == [200, 0, 0]
    with pytest.raises(UserError, match=r"adapter toy: 'bgra' is not known. Did you mean 'bgr'"):
        toy_adapter(channels="bgra")


def test_an_instruction_written_in_bytes() -> None:
    words = ["push the red star", "schiebe das grüne Herz"]
    rows = np.zeros((2, 32), dtype=np.int32)
    for row, text in zip(rows, words, strict=True):
        row[: len(text.encode())] = list(text.encode())
    adapter = toy_adapter(instruction="spelled", instruction_kind="bytes")
    columns = ToyEpisodes((2,)).columns | {"spelled": Column("array", (32,), "int32")}
    adapter.check(columns, "toy")
    assert adapter.instructions(ToyEpisodes((2,), values={"spelled": rows})[0]) == words
    for wrong, words_of_it in ((0xFF, "no UTF-8"), (700, "no bytes"), (-1, "no bytes")):
        rows[1, 3] = wrong
        with pytest.raises(DamagedRecord, match=f"toy record 0: its instruction .*{words_of_it}"):
            adapter.instructions(ToyEpisodes((2,), values={"spelled": rows})[0])
    with pytest.raises(UserError, match="'text' holds text, adapter toy reads it as array"):
        toy_adapter(instruction_kind="bytes").check(columns, "toy")


def test_bc_z_takes_the_first_of_ten_actions(tmp_path: Path) -> None:
    ten = {"xyz_residual": 30, "axis_angle_residual": 30, "target_close": 10}
    columns = {f"future/{name}": made.tensor("float32", size) for name, size in ten.items()}
    columns["future/target_close"] = made.tensor("int64", 10)
    seen = {"present/xyz": 3, "present/axis_angle": 3, "present/sensed_close": 1}
    observation = {name: made.tensor("float32", size) for name, size in seen.items()}
    observation |= {"image": made.picture(8, 8, 3), "natural_language_instruction": made.text()}
    schema = {"action": made.features(columns), "observation": made.features(observation)}
    png = io.BytesIO()
    Image.new("RGB", (8, 8)).save(png, "PNG")
    values: dict[str, Any] = {
        "steps/action/future/xyz_residual": [0.01 * n for n in range(60)],
        "steps/action/future/axis_angle_residual": [0.1 + 0.01 * n for n in range(60)],
        "steps/action/future/target_close": [1] * 10 + [0] * 10,
        "steps/observation/present/xyz": [float(n) for n in range(6)],
        "steps/observation/present/axis_angle": [float(n) for n in range(6)],
        "steps/observation/present/sensed_close": [0.25, 0.5],
        "steps/observation/image": [png.getvalue()] * 2,
        "steps/observation/natural_language_instruction": [b"place grapes in red bowl"] * 2,
    }
    root = made.write(tmp_path / "bc_z", schema, [made.example(values)])
    episodes = RldsEpisodes.open(Storage(str(root)), "train")
    adapter = load(CONFIGS / "adapter/bc_z.yaml")
    adapter.check(episodes.columns, "bc_z")
    expected = [[0, 0.01, 0.02, 0.1, 0.11, 0.12, 1], [0.3, 0.31, 0.32, 0.4, 0.41, 0.42, -1]]
    np.testing.assert_allclose(adapter.actions(episodes[0]), expected, atol=1e-6)
    assert adapter.states(episodes[0])[1].tolist() == [3, 4, 5, 3, 4, 5, 0.5]
    assert adapter.instructions(episodes[0]) == ["place grapes in red bowl"] * 2


def test_the_mixture_names_each_set_with_its_own_adapter() -> None:
    sets = compose("inspect", ["data=openx", "data.root=there"]).data.source.sets
    assert len(sets) == 22
    for each in sets:
        folder, name, version = each.root.split("/")
        assert (folder, name) == ("there", each.adapter.name)
        assert version == ("1.0.0" if name == "bridge_dataset" else "0.1.0")
        assert each.weight > 0


def test_open_x_sets_have_adapters() -> None:
    names = {path.stem for path in ADAPTERS}
    asked = {"fractal20220817_data", "bridge_dataset", "bridge_orig", "fractal_lerobot"}
    assert asked | {"bridge_lerobot"} <= names
    assert len(names - asked) >= 6
