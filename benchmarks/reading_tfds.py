"""Read an RLDS set with TFDS's own pipeline; `benchmarks.reading` runs this in TFDS's environment.

Imports nothing of this package. Prints one line of JSON: how many in how many seconds.
"""

import argparse
import json
import time
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds


def opened(folder: str, threads: int, image: str) -> Any:
    """Return a data set of whole episodes, pictures decoded: `(t, h, w, 3)` and actions."""
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    options.threading.max_intra_op_parallelism = 1
    config = tfds.ReadConfig(options=options, num_parallel_calls_for_decode=threads)
    data = tfds.builder_from_directory(folder).as_dataset(
        split="train", read_config=config, shuffle_files=False
    )

    def columns(steps: Any) -> Any:
        picture = steps
        for name in image.split("/"):
            picture = picture[name]
        return picture, steps["action"]

    # A batch of all steps is the fastest way from an episode to arrays: mapping step by step takes
    # two to thirty times as long.
    return data.repeat().flat_map(lambda episode: episode["steps"].batch(10_000)).map(columns)


def windows(data: Any, length: int, size: tuple[int, int], threads: int, batch: int) -> Any:
    """Return shuffled batches of all windows of `length` frames, resized to `size`."""

    def small(frames: Any, action: Any) -> Any:
        if tuple(frames.shape[1:3]) == size:
            return frames, action
        resized = tf.image.resize(frames, size, "bilinear", antialias=True)
        return tf.cast(tf.round(resized), tf.uint8), action

    def cut(frames: Any, action: Any) -> Any:
        count = tf.maximum(tf.shape(frames)[0] - length + 1, 0)
        at = tf.range(count)[:, None] + tf.range(length)[None]

        def window(steps: Any) -> Any:
            return tf.gather(frames, steps), tf.nest.map_structure(
                lambda values: tf.gather(values, steps), action
            )

        return tf.data.Dataset.from_tensor_slices(at).map(window)

    small_ones = data.map(small, num_parallel_calls=threads)
    return small_ones.flat_map(cut).shuffle(500, seed=0).batch(batch).prefetch(2)


def main() -> None:
    """Read without measuring, then as much again with the clock running."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("what", choices=("frames", "windows"))
    parser.add_argument("count", type=int, help="frames or windows")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--image", default="observation/image")
    parser.add_argument("--length", type=int, default=7)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 320))
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    data = opened(options.folder, options.threads, options.image)
    if options.what == "windows":
        size = tuple(options.size)
        data = windows(data, options.length, size, options.threads, options.batch)
    else:
        data = data.prefetch(2)
    count, started = 0, 0.0
    for frames, _ in data:
        count += len(frames.numpy())
        if count >= options.count:
            if started:
                break
            count, started = 0, time.perf_counter()
    print(json.dumps({"count": count, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
