"""Read a LeRobot v3.0 set with lerobot's own loader; `benchmarks.reading` runs this where it is.

Imports nothing of this package. Prints one line of JSON: how many in how many seconds.
"""

import argparse
import json
import time

import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from torch.nn import functional


def main() -> None:
    """Read without measuring, then as much again with the clock running."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("what", choices=("frames", "windows"))
    parser.add_argument("count", type=int, help="frames or windows")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--image", default="observation.images.head")
    parser.add_argument("--length", type=int, default=7)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 320))
    options = parser.parse_args()
    torch.set_num_threads(1)
    facts = LeRobotDataset("benchmark/set", root=options.folder)
    length = options.length if options.what == "windows" else 1
    times = [step / facts.fps for step in range(length)]
    data = LeRobotDataset(
        "benchmark/set",
        root=options.folder,
        delta_timestamps={options.image: times, "action": times},
    )
    loader = torch.utils.data.DataLoader(
        data,
        batch_size=options.batch,
        num_workers=options.workers,
        shuffle=options.what == "windows",
        generator=torch.Generator().manual_seed(0),
        collate_fn=lambda samples: _batch(samples, options.image, tuple(options.size)),
    )
    count, started = 0, 0.0
    while True:
        for pictures in loader:
            count += len(pictures)
            if count < options.count:
                continue
            if started:
                print(json.dumps({"count": count, "seconds": time.perf_counter() - started}))
                return
            count, started = 0, time.perf_counter()


def _batch(
    samples: list[dict[str, torch.Tensor]], image: str, size: tuple[int, int]
) -> torch.Tensor:
    pictures = torch.stack([sample[image] for sample in samples])
    if pictures.shape[-2:] == size:
        return pictures
    flat = pictures.flatten(0, -4)
    small = functional.interpolate(flat, size=size, mode="bilinear", antialias=True)
    return small.unflatten(0, pictures.shape[:-3])


if __name__ == "__main__":
    main()
