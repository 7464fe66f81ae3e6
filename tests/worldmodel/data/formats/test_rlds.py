"""The RLDS reader against what TFDS wrote."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiment.errors import UserError
from tests.data.rlds_values import INSTRUCTIONS, ROOT, picture, values
from tests.worldmodel import rlds_records as made
from worldmodel.data.formats.episode import Column, Episode, Episodes
from worldmodel.data.formats.rlds import RldsEpisodes
from worldmodel.data.formats.storage import Storage

F32 = np.float32


def opened(name: str) -> RldsEpisodes:
    return RldsEpisodes.open(Storage(str(ROOT / name / "0.1.0")))


def expected(
    shape: tuple[int, ...], dtype: Any, name: str, episode: int, steps: int, path: str
) -> Any:
    keys = [(name, episode, step, "steps", *path.split("/")) for step in range(steps)]
    return np.stack([values(shape, dtype, *key) for key in keys])


def test_the_schema_of_fractal() -> None:
    episodes: Episodes = opened("fractal20220817_data")
    assert episodes.lengths.tolist() == [8, 7, 9]
    assert episodes.lengths.dtype == np.int64
    assert episodes.fps is None
    assert episodes.robot is None
    assert episodes.source.endswith("0.1.0")
    assert len(episodes.columns) == 24
    assert episodes.columns["observation/image"] == Column("image", (64, 80, 3), "uint8")
    assert episodes.columns["action/terminate_episode"] == Column("array", (3,), "int32")
    assert episodes.columns["observation/orientation_box"] == Column("array", (2, 3), "float32")
    assert episodes.columns["is_first"] == Column("array", (), "bool")
    instruction = episodes.columns["observation/natural_language_instruction"]
    assert instruction == Column("text", (), "str")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_values_of_fractal(number: int) -> None:
    name = "fractal20220817_data"
    episodes = opened(name)
    episode: Episode = episodes[number]
    count = len(episode)
    assert count == episodes.lengths[number]
    for column, shape, dtype in (
        ("action/world_vector", (3,), F32),
        ("action/terminate_episode", (3,), np.int32),
        ("observation/workspace_bounds", (3, 3), F32),
        ("observation/natural_language_embedding", (512,), F32),
        ("reward", (), F32),
    ):
        found = episode.array(column)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected(shape, dtype, name, number, count, column))
    assert episode.array("is_last").tolist() == [False] * (count - 1) + [True]
    texts = episode.text("observation/natural_language_instruction")
    assert texts == [INSTRUCTIONS[number]] * count


def test_pictures_are_those_of_tensorflow() -> None:
    found = opened("fractal20220817_data")[0].images("observation/image")
    assert found.shape == (8, 64, 80, 3)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[0], np.load(ROOT / "decoded_by_tensorflow.npy"))
    for step in range(8):
        key = ("fractal20220817_data", 0, step, "steps", "observation", "image")
        assert np.abs(found[step].astype(int) - picture(64, 80, 3, *key)).mean() < 6


def test_some_pictures_in_any_order() -> None:
    episode = opened("bridge_dataset")[2]
    every = episode.images("observation/image_0")
    some = episode.images("observation/image_0", np.asarray([4, 1, 1]))
    np.testing.assert_array_equal(some, every[[4, 1, 1]])
    assert episode.images("observation/image_0", np.asarray([], int)).shape == (0, 64, 80, 3)
    for wrong in ([5], [-1]):
        with pytest.raises(IndexError):
            episode.images("observation/image_0", np.asarray(wrong))


def test_what_holds_for_the_whole_episode_holds_at_each_step() -> None:
    episode = opened("bridge_dataset")[1]
    assert episode.text("language_instruction") == [""] * 3
    assert len(set(episode.text("episode_metadata/file_path"))) == 1
    assert len(episode.text("episode_metadata/file_path")) == 3
    has = episode.array("episode_metadata/has_image_0")
    assert (has.shape, has.dtype) == ((3,), np.dtype(bool))
    assert opened("bridge_dataset")[2].text("language_instruction")[0] == INSTRUCTIONS[2]


def test_every_kind_of_number_and_text() -> None:
    name, steps = "kinds", 4
    episode = opened(name)[2]
    for column, shape, dtype in (
        ("half", (2,), np.float16),
        ("int64", (2,), np.int64),
        ("uint8", (2,), np.uint8),
        ("flags", (3,), np.bool_),
    ):
        found = episode.array(column)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected(shape, dtype, name, 2, steps, column))
    double = expected((2,), np.float64, name, 2, steps, "double")
    np.testing.assert_array_equal(episode.array("double"), double.astype(F32))
    assert episode.array("uint64").tolist() == [[2**64 - 1, step] for step in range(steps)]
    assert episode.text("string") == [f"{(name, 2, s, 'steps', 'string')} é" for s in range(steps)]


def test_pictures_of_every_kind() -> None:
    name, steps = "kinds", 4
    episode = opened(name)[2]
    keys = [(name, 2, step, "steps") for step in range(steps)]
    png = np.stack([picture(16, 20, 3, *key, "png") for key in keys])
    np.testing.assert_array_equal(episode.images("png"), png)
    alpha = np.stack([picture(16, 20, 4, *key, "alpha") for key in keys])
    np.testing.assert_array_equal(episode.images("alpha"), alpha[..., :3])
    grey = episode.images("grey")
    assert grey.shape == (steps, 16, 20, 3)
    assert (grey == grey[..., :1]).all()
    with pytest.raises(UserError, match="the pictures of 'any_size' differ in size"):
        episode.images("any_size")
    for step in range(steps):
        shape = (1, 16 + step, 16 + step, 3)
        assert episode.images("any_size", np.array([step])).shape == shape


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("zlib", "the encoding zlib"),
        ("depth", "pictures of float32"),
        ("points", "features of the kind Sequence"),
        ("label", "features of the kind ClassLabel"),
        ("video", "features of the kind Video"),
    ],
)
def test_what_no_adapter_needs_is_named_when_it_is_asked_for(column: str, reason: str) -> None:
    episodes = opened("kinds")
    assert column not in episodes.columns
    with pytest.raises(UserError, match=rf"'{column}' cannot be read: {reason}"):
        episodes[0].array(column)


def test_a_column_that_is_not_there_or_of_another_kind() -> None:
    episode = opened("bridge_dataset")[0]
    with pytest.raises(UserError, match=r"no column 'observation/stat'.* Did you mean 'obs"):
        episode.array("observation/stat")
    with pytest.raises(UserError, match="'action' is of the kind array, not text"):
        episode.text("action")
    with pytest.raises(UserError, match="of the kind text, not image"):
        episode.images("language_instruction")
    with pytest.raises(IndexError):
        opened("bridge_dataset")[3]


def test_a_worker_gets_a_small_copy() -> None:
    episodes = opened("fractal20220817_data")
    first = episodes[0]
    packed = pickle.dumps(episodes)
    assert len(packed) < 20_000
    again = pickle.loads(packed)[0]
    np.testing.assert_array_equal(again.array("reward"), first.array("reward"))


def test_a_set_from_the_network_is_the_same(tmp_path: Path) -> None:
    import fsspec

    remote = fsspec.filesystem("memory")
    remote.put(str(ROOT / "bridge_dataset/0.1.0"), "/open_x/bridge", recursive=True)
    near = opened("bridge_dataset")
    streamed = RldsEpisodes.open(Storage("memory://open_x/bridge"))
    cached = RldsEpisodes.open(Storage("memory://open_x/bridge", cache=tmp_path))
    remote.rm("/open_x", recursive=True)
    again = RldsEpisodes.open(Storage("memory://open_x/bridge", cache=tmp_path))
    for episodes in (streamed, cached, again):
        np.testing.assert_array_equal(episodes.lengths, near.lengths)
    for number in range(3):
        action = near[number].array("action")
        np.testing.assert_array_equal(cached[number].array("action"), action)
    with pytest.raises(UserError, match=r"memory://open_x/bridge/.*00000-of-00002 is missing"):
        streamed[0]


def test_writers_that_do_not_pack_are_read_too(tmp_path: Path) -> None:
    loose = b"".join(b"\x0d" + np.float32(v).tobytes() for v in (1.5, -2.0, 0.25, 4.0))
    ints = b"".join(b"\x08" + made.varint(v) for v in (1, -2))
    mixed = (
        made.part(1, np.array([7.0], np.float32).tobytes()) + b"\x0d" + np.float32(8.0).tobytes()
    )
    data = made.example(
        {
            "steps/a": made.part(2, loose),
            "steps/b": made.part(3, ints),
            "steps/c": made.part(2, mixed),
        }
    )
    steps = {"a": made.tensor("float32", 2), "b": made.tensor("int64"), "c": made.tensor("float32")}
    episode = RldsEpisodes.open(Storage(str(made.write(tmp_path / "set", steps, [data]))))[0]
    assert episode.array("a").tolist() == [[1.5, -2.0], [0.25, 4.0]]
    assert episode.array("b").tolist() == [1, -2]
    assert episode.array("c").tolist() == [7.0, 8.0]
