"""Write small RLDS data sets with TFDS itself, and compare what both readers say.

Needs TensorFlow, which the package does not; run it in an environment of its own, from the root of
the repository:

    uv venv tfds && VIRTUAL_ENV=tfds uv pip install tensorflow-cpu tensorflow-datasets \\
        google-crc32c simplejpeg pillow importlib_resources
    tfds/bin/python -m tests.data.make_rlds write tests/data/rlds
    tfds/bin/python -m tests.data.make_rlds compare tests/data/rlds/bridge_dataset/0.1.0

The schemas are those of Open X-Embodiment's fractal20220817_data and bridge_dataset; the values
follow from the numbers of episode and step. `kinds` has every other kind of feature, read or not.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tests.data.rlds_values import INSTRUCTIONS, picture, values

F = tfds.features


def fractal(height: int, width: int) -> dict[str, Any]:
    """Return the features of fractal20220817_data; its pictures are 256 x 320."""
    f32 = np.float32

    def tensor(*shape: int, dtype: Any = f32) -> Any:
        return F.Tensor(shape=shape, dtype=dtype)

    observation = {
        "base_pose_tool_reached": tensor(7),
        "gripper_closed": tensor(1),
        "gripper_closedness_commanded": tensor(1),
        "height_to_bottom": tensor(1),
        "image": F.Image(shape=(height, width, 3), encoding_format="jpeg"),
        "natural_language_embedding": tensor(512),
        "natural_language_instruction": F.Text(),
        "orientation_box": tensor(2, 3),
        "orientation_start": tensor(4),
        "robot_orientation_positions_box": tensor(3, 3),
        "rotation_delta_to_go": tensor(3),
        "src_rotation": tensor(4),
        "vector_to_go": tensor(3),
        "workspace_bounds": tensor(3, 3),
    }
    action = {
        "base_displacement_vector": tensor(2),
        "base_displacement_vertical_rotation": tensor(1),
        "gripper_closedness_action": tensor(1),
        "rotation_delta": tensor(3),
        "terminate_episode": tensor(3, dtype=np.int32),
        "world_vector": tensor(3),
    }
    flags = {name: F.Scalar(dtype=np.bool_) for name in ("is_first", "is_last", "is_terminal")}
    reward = {"reward": F.Scalar(dtype=f32)}
    return {"steps": F.Dataset({"action": action, "observation": observation, **flags, **reward})}


def bridge(height: int, width: int) -> dict[str, Any]:
    """Return the features of bridge_dataset; its pictures are 256 x 256."""
    f32 = np.float32
    image = {
        f"image_{i}": F.Image(shape=(height, width, 3), encoding_format="jpeg") for i in range(4)
    }
    flags = {name: F.Scalar(dtype=np.bool_) for name in ("is_first", "is_last", "is_terminal")}
    steps = {
        "action": F.Tensor(shape=(7,), dtype=f32),
        "discount": F.Scalar(dtype=f32),
        "language_embedding": F.Tensor(shape=(512,), dtype=f32),
        "language_instruction": F.Text(),
        "observation": {**image, "state": F.Tensor(shape=(7,), dtype=f32)},
        "reward": F.Scalar(dtype=f32),
        **flags,
    }
    has = {f"has_{name}": F.Scalar(dtype=np.bool_) for name in (*image, "language")}
    metadata = {"episode_id": F.Scalar(dtype=np.int32), "file_path": F.Text(), **has}
    return {"steps": F.Dataset(steps), "episode_metadata": metadata}


def kinds(height: int, width: int) -> dict[str, Any]:
    """Return one feature of each kind that the others lack."""
    shape = (height, width)
    steps = {
        "is_first": F.Scalar(dtype=np.bool_),
        "bytes": F.Tensor(shape=(2, 3), dtype=np.float64, encoding="bytes"),
        "zlib": F.Tensor(shape=(2, 3), dtype=np.int16, encoding="zlib"),
        "double": F.Tensor(shape=(2,), dtype=np.float64),
        "half": F.Tensor(shape=(2,), dtype=np.float16),
        "int64": F.Tensor(shape=(2,), dtype=np.int64),
        "uint64": F.Tensor(shape=(2,), dtype=np.uint64),
        "uint8": F.Tensor(shape=(2,), dtype=np.uint8),
        "flags": F.Tensor(shape=(3,), dtype=np.bool_),
        "label": F.ClassLabel(names=["a", "b", "c"]),
        "box": F.BBoxFeature(),
        "png": F.Image(shape=(*shape, 3), encoding_format="png"),
        "grey": F.Image(shape=(*shape, 1), encoding_format="jpeg"),
        "alpha": F.Image(shape=(*shape, 4), encoding_format="png"),
        "any_size": F.Image(encoding_format="jpeg"),
        "depth16": F.Image(shape=(*shape, 1), dtype=np.uint16, encoding_format="png"),
        "depth": F.Image(shape=(*shape, 1), dtype=np.float32, encoding_format="png"),
        "points": F.Sequence(F.Tensor(shape=(2,), dtype=np.float32)),
        "words": F.Sequence(F.Text()),
        "nested": F.Sequence({"deep": F.Sequence(F.Scalar(dtype=np.int32))}),
        "string": F.Tensor(shape=(), dtype=np.str_),
    }
    return {
        "steps": F.Dataset(steps),
        "video": F.Video(shape=(None, *shape, 3), encoding_format="jpeg"),
        "episode_metadata": {"id": F.Text(), "size": F.Tensor(shape=(2,), dtype=np.float32)},
    }


def filled(feature: Any, length: int, *key: Any) -> Any:
    """Return a value for `feature`, as its encoder wants it."""
    episode, step, name = key[1], key[2], key[-1]
    if isinstance(feature, F.Dataset):
        return [filled(feature.feature, length, *key[:2], s, name) for s in range(length)]
    if isinstance(feature, F.FeaturesDict):
        return {k: filled(v, length, *key, k) for k, v in feature.items()}
    if isinstance(feature, F.Video):
        height, width, channels = feature.shape[1:]
        return [picture(height, width, channels, *key, s) for s in range(length)]
    if isinstance(feature, F.Sequence):
        count = feature._length or (step + episode) % 3
        return [filled(feature.feature, length, *key, i) for i in range(count)]
    if isinstance(feature, F.Image):
        height, width, channels = (n or 16 + step for n in feature.shape)
        if feature.np_dtype == np.float32:
            return values((height, width, channels), np.float32, *key)
        # As in bridge_dataset, where an episode lacks a camera.
        absent = name in ("image_1", "image_2", "image_3")
        return picture(height, width, channels, *key).astype(feature.np_dtype) * (not absent)
    if isinstance(feature, F.Text) or np.dtype(feature.np_dtype).kind in "OSU":
        return f"{INSTRUCTIONS[episode % 3]}" if "inst" in str(name) else f"{key} é"
    if isinstance(feature, F.ClassLabel):
        return int(values((), np.uint8, *key)) % 3
    if isinstance(feature, F.BBoxFeature):
        return F.BBox(0.25, 0.5, 0.75, 1.0)
    if name in ("is_first", "is_last", "is_terminal"):
        return step == (0 if name == "is_first" else length - 1)
    if feature.np_dtype == np.uint64:
        return np.asarray([2**64 - 1, step], np.uint64)
    return values(feature.shape, feature.np_dtype, *key)


Examples = Callable[[], Iterator[tuple[int, Any]]]


def builder(name: str, features: dict[str, Any], examples: Examples, version: str) -> type:
    """Return a builder class for `examples`; TFDS reads its name off the class."""

    def info(self: Any) -> Any:
        return tfds.core.DatasetInfo(
            builder=self, features=F.FeaturesDict(features), disable_shuffling=True
        )

    members = {
        "__module__": __name__,
        "VERSION": tfds.core.Version(version),
        "pkg_dir_path": Path(__file__).parent,
        "_info": info,
        "_split_generators": lambda _, __: {"train": examples()},
        "_generate_examples": lambda _: examples(),
    }
    title = "".join(word.capitalize() for word in name.split("_"))
    return type(title, (tfds.core.GeneratorBasedBuilder,), members)


def save(cls: type, folder: Path, shards: int) -> Any:
    """Write a builder's data set below `folder` and return the builder."""
    made = cls(data_dir=str(folder))
    made.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=shards))
    return made


LENGTHS = {"fractal20220817_data": [8, 7, 9], "bridge_dataset": [4, 3, 5], "kinds": [3, 2, 4]}
SETS = {"fractal20220817_data": fractal, "bridge_dataset": bridge, "kinds": kinds}


def write(folder: Path, name: str, size: tuple[int, int], lengths: list[int], shards: int) -> None:
    """Write the data set `name` below `folder`."""
    features = SETS[name](*size)
    tree = F.FeaturesDict(features)

    def examples() -> Iterator[tuple[int, Any]]:
        for number, length in enumerate(lengths):
            yield number, filled(tree, length, name, number, 0, "")

    made = save(builder(name, features, examples, "0.1.0"), folder, shards)
    if name == "fractal20220817_data":
        episode = next(iter(made.as_dataset(split="train")))
        image = next(iter(episode["steps"]))["observation"]["image"].numpy()
        np.save(folder / "decoded_by_tensorflow.npy", image, allow_pickle=False)


def compare(folder: Path) -> None:
    """Print for every column how far this package's reader is from TFDS's own."""
    from worldmodel.data.formats.rlds import RldsEpisodes
    from worldmodel.data.formats.storage import Storage

    ours = RldsEpisodes.open(Storage(str(folder)))
    theirs = tfds.builder_from_directory(str(folder)).as_dataset(split="train")
    count = 0
    for number, record in enumerate(theirs):
        count += 1
        episode = ours[number]
        steps = list(record.pop("steps"))
        assert len(steps) == len(episode), (number, len(steps), len(episode))
        seen = {k: [flat(step)[k] for step in steps] for k in flat(steps[0])}
        whole = {k: [v] * len(steps) for k, v in flat(record).items() if k != "video"}
        theirs_by_column = {**seen, **whole}
        for column, described in ours.columns.items():
            if None not in described.shape:
                report(column, theirs_by_column[column], episode, described.kind)
    assert count == len(ours.lengths), (count, len(ours.lengths))
    print(f"{count} episodes, {int(ours.lengths.sum())} steps, {len(ours.columns)} columns agree")


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested dicts by path."""
    if isinstance(tree, dict):
        parts = [flat(v, f"{prefix}/{k}" if prefix else k) for k, v in tree.items()]
        return {k: v for part in parts for k, v in part.items()}
    return {prefix: tree if isinstance(tree, tf.RaggedTensor) else np.asarray(tree)}


def report(column: str, wanted: list[Any], episode: Any, kind: str) -> None:
    """Compare one column of an episode."""
    found = {"image": episode.images, "text": episode.text, "array": episode.array}[kind](column)
    for step, (a, b) in enumerate(zip(found, wanted, strict=True)):
        if kind == "text":
            b = np.vectorize(bytes.decode, otypes=[object])(b) if b.size else b.astype(object)
            assert np.array_equal(np.asarray(a, object), b), (column, step, a, b)
        elif kind == "image":
            b = np.repeat(b, 3, axis=-1) if b.shape[-1] == 1 else b[..., :3]
            difference = np.abs(a.astype(int) - b.astype(int))
            if difference.max() > 0:
                print(
                    f"{column}: differs by up to {difference.max()}, mean {difference.mean():.4f}"
                )
        else:
            assert np.asarray(a).dtype == b.dtype, (column, np.asarray(a).dtype, b.dtype)
            assert np.array_equal(a, b), (column, step, a, b)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=("write", "compare"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", choices=tuple(SETS))
    parser.add_argument("--size", type=int, nargs=2, default=(64, 80))
    parser.add_argument("--lengths", type=int, nargs="+", default=None)
    parser.add_argument("--shards", type=int, default=2)
    options = parser.parse_args()
    if options.verb == "compare":
        compare(options.folder)
        return
    for name in [options.name] if options.name else SETS:
        size = (16, 20) if name == "kinds" else tuple(options.size)
        write(options.folder, name, size, options.lengths or LENGTHS[name], options.shards)


if __name__ == "__main__":
    main()
