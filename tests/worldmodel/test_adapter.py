"""Adapters: every data set's action as the canonical one."""

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
from worldmodel.data.action_map import ActionMap, ColumnSlice, rotation_vectors, to_closing
from worldmodel.data.adapter import Adapter, adapter_for
from worldmodel.data.formats.episode import Column, DamagedRecord
from worldmodel.data.formats.rlds import RldsEpisodes
from worldmodel.data.formats.storage import Storage

ADAPTERS = sorted((CONFIGS / "adapter").glob("*.yaml"))


def load(path: Path) -> Adapter:
    return build(OmegaConf.load(path), Adapter)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: path.stem)
def test_every_adapter_gives_canonical_actions(path: Path) -> None:
    adapter = load(path)
    assert adapter.name == path.stem
    moved = adapter.action
    assert moved is not None
    rng = np.random.default_rng(0)
    size = {"quaternion_xyzw": 4, "none": 0}.get(moved.rotation_kind, 3)
    written = {"translation": rng.uniform(-1, 1, (50, 3))}
    if moved.rotation:
        written["rotation"] = rng.uniform(-0.4, 0.4, (50, size))
    if moved.gripper:
        written["gripper"] = rng.uniform(-1, 1, (50, 1))
    canonical = moved.canonical(written)
    assert canonical.shape == (50, 7)
    np.testing.assert_allclose(canonical[:, :3], written["translation"] * moved.scale_translation)
    assert np.abs(canonical[:, 6]).max() <= 1
    assert canonical[:, 3:6].any() == bool(moved.rotation)


@pytest.mark.parametrize("kind", ["closed", "open", "closing", "opening"])
def test_plus_one_closes(kind: str) -> None:
    closed = {"closed": 1.0, "open": 0.0, "closing": 1.0, "opening": -1.0}[kind]
    opened = {"closed": 0.0, "open": 1.0, "closing": -1.0, "opening": 1.0}[kind]
    assert to_closing(np.array([[closed], [opened]]), kind).tolist() == [[1.0], [-1.0]]  # type: ignore[arg-type]


def test_rotations_agree_with_transforms3d() -> None:
    from transforms3d.euler import euler2mat
    from transforms3d.quaternions import axangle2quat, mat2quat

    rng = np.random.default_rng(1)
    for rpy in rng.uniform(-1.4, 1.4, (30, 3)):
        vector = rotation_vectors(rpy[None], "rpy")[0]
        angle = float(np.linalg.norm(vector))
        quaternion = axangle2quat(vector / angle, angle)
        expected = mat2quat(euler2mat(*rpy, "sxyz"))
        assert abs(float(quaternion @ expected)) == pytest.approx(1.0)
        w, x, y, z = expected
        other = rotation_vectors(np.array([[x, y, z, w]]), "quaternion_xyzw")[0]
        np.testing.assert_allclose(other, vector, atol=1e-9)
    np.testing.assert_array_equal(rotation_vectors(np.zeros((2, 3)), "rpy"), np.zeros((2, 3)))
    longer_way = -np.array([[0.0, 0.0, np.sin(0.1), np.cos(0.1)]])
    np.testing.assert_allclose(rotation_vectors(longer_way, "quaternion_xyzw"), [[0, 0, 0.2]])
    assert np.isnan(rotation_vectors(np.zeros((1, 4)), "quaternion_xyzw")).all()


def test_slices_of_columns() -> None:
    assert ColumnSlice.of("action/world_vector").where == slice(None, None)
    assert ColumnSlice.of("action[3:6]").where == slice(3, 6)
    assert ColumnSlice.of("action[6]").where == slice(6, 7)
    rows = np.arange(14.0).reshape(2, 7)
    assert rows[:, ColumnSlice.of("state[-1]").where].tolist() == [[6.0], [13.0]]
    for wrong in ("", "[3]", "action[", "action[]"):
        with pytest.raises(UserError, match="adapter"):
            ColumnSlice.of(wrong)


def test_scales_and_missing_axes() -> None:
    action = ActionMap("a[0:2]", rotation_kind="none", scale_translation=0.02)
    forth = action.canonical({"translation": np.array([[1.0, -2.0]])})
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
    ("changes", "sentence"),
    [
        (
            {"translation": "action[5:8]"},
            r"has 7 numbers .* 'action\[5:8\]' cannot be",
        ),
        ({"translation": "action"}, r"'action' cannot be a translation"),
        ({"rotation": "action[3:7]"}, r"'action\[3:7\]' cannot be a rotation"),
        ({"gripper": "action[-9]"}, r"'action\[-9\]' cannot be a gripper"),
    ],
)
def test_slices_beyond_a_column_are_refused(changes: dict[str, str], sentence: str) -> None:
    given = {"translation": "action[0:3]", "rotation": "action[3:6]", "gripper": "action[6]"}
    moved = ActionMap(**(given | changes), gripper_kind="closing")  # type: ignore[arg-type]
    columns = ToyEpisodes((4,)).columns
    with pytest.raises(UserError, match=sentence):
        toy_adapter(action=moved).check(columns, "toy")
    toy_adapter(action=moved).check(columns, "toy", video_only=True)
    with pytest.raises(UserError, match=r"'action\[5:9\]' cannot be a state"):
        toy_adapter(state=("action[5:9]",)).check(columns, "toy")


def test_joints_that_go_on_beyond_an_adapter_are_refused() -> None:
    """26 named joint angles are not seven gripper deltas, whoever names the adapter."""
    joints = Column("array", (26,), "float32", tuple(f"joint_{n}" for n in range(26)))
    columns = {**ToyEpisodes((4,)).columns, "action": joints}
    with pytest.raises(UserError, match=r"goes on with joint_7, joint_8, joint_9 after the 7"):
        toy_adapter().check(columns, "toy")
    toy_adapter().check(columns, "toy", video_only=True)
    nameless = Column("array", (26,), "float32")
    toy_adapter().check({**columns, "action": nameless}, "toy")


def test_a_set_without_an_adapter_is_watched() -> None:
    adapter = adapter_for(ToyEpisodes((4,)))
    assert (adapter.image, adapter.action, adapter.rate, adapter.instruction) == (
        "image", None, None, ""
    )  # fmt: skip
    blind = ToyEpisodes((4,), columns={"action": Column("array", (7,), "float32")})
    with pytest.raises(UserError, match="toy has no camera"):
        adapter_for(blind)


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
    with pytest.raises(UserError, match=r"unknown order of channels 'bgra'. Did you mean 'bgr'"):
        toy_adapter(channels="bgra")


def test_an_instruction_written_in_bytes() -> None:
    words = ["push the red star", "schiebe das grüne Herz"]
    rows = np.zeros((2, 32), dtype=np.int32)
    for row, text in zip(rows, words, strict=True):
        row[: len(text.encode())] = list(text.encode())
    adapter = toy_adapter(instruction="spelled", instruction_kind="bytes")
    columns = {**ToyEpisodes((2,)).columns, "spelled": Column("array", (32,), "int32")}
    adapter.check(columns, "toy")
    assert adapter.instructions(ToyEpisodes((2,), values={"spelled": rows})[0]) == words
    for wrong, words_of_it in (
        (0xFF, "not UTF-8"),
        (700, "outside 0 to 255"),
        (-1, "outside 0 to 255"),
    ):
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
