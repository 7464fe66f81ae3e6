"""Milliseconds a chunk of actions costs, with and without denoising the video along with it.

`python -m benchmarks.policy [--checkpoint FOLDER] [--repeats 20]` measures every variant in one
process, one thread, so the ratios are comparable. The floor is one pass of the network: about
2 FLOPs a weight and token. Beside it the same with the conditions run at every step, as they were
before models whose conditions see nothing else ran them once.
"""

import argparse
import statistics
import time
from unittest import mock

import numpy as np
import torch
from tqdm import tqdm

from envs.episode import Observation
from experiment.settings import ROOT
from policies.checkpoint import load_policy
from worldmodel.model import WorldModel

VARIANTS = [
    {"steps": steps, "predict_video": video} for steps in (1, 5, 10) for video in (False, True)
]


def milliseconds(checkpoint: str, repeats: int, **inference: object) -> float:
    """Return the median time of one chunk."""
    policy = load_policy(checkpoint, **inference)  # type: ignore[arg-type]
    generator = np.random.default_rng(0)
    image = generator.integers(0, 255, (128, 160, 3), dtype=np.uint8)
    state = np.zeros(10, np.float32)
    policy.reset("open top drawer", 0)
    spent = []
    for step in range(repeats + 2):
        started = time.perf_counter()
        policy.act(Observation(image, state, "open top drawer", step, {}))
        spent.append(time.perf_counter() - started)
    # The first calls allocate.
    return 1e3 * statistics.median(spent[2:])


def milliseconds_again(checkpoint: str, repeats: int, **inference: object) -> float:
    """Return the same where the conditions run at every step."""
    with mock.patch.object(WorldModel, "remember", lambda _, known: (None, known)):
        return milliseconds(checkpoint, repeats, **inference)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--checkpoint", default=str(ROOT / "policies/checkpoints/google_robot"))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [
        (
            variant,
            milliseconds(arguments.checkpoint, arguments.repeats, **variant),
            milliseconds_again(arguments.checkpoint, arguments.repeats, **variant),
        )
        for variant in tqdm(VARIANTS, desc="variants", leave=False)
    ]
    print("Euler steps  video  ms a chunk  conditions at every step  ratio")
    for variant, cost, again in rows:
        video = "yes" if variant["predict_video"] else "no"
        print(
            f"{variant['steps']:11d}  {video:5s}  {cost:10.1f}  {again:24.1f}  {again / cost:5.2f}"
        )


if __name__ == "__main__":
    main()
