"""Entry point: write the tokens of a data set ahead of time.

    python -m worldmodel.encode data=fractal data.root=/folder out=datasets/rt1-tokens
    python -m worldmodel.pretrain data=tokens data.root=datasets/rt1-tokens

Every `every`-th window of each episode is encoded, in the order of the episodes, some to a shard;
the same command resumes where it stopped. Pictures are not augmented, instructions stay text.
"""

import json
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig

from experiment import progress
from experiment.command import command
from experiment.errors import UserError, nearest
from experiment.files import append_record, write_bytes
from experiment.run_folder import open_run
from experiment.settings import build
from worldmodel.data.dataset import DataSet
from worldmodel.data.encoded import DTYPES, INDEX, read_shard, settings_of, write_shard
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.order import WindowIndex
from worldmodel.data.reader import DataConfig
from worldmodel.data.source import DataSource
from worldmodel.data.windows import stack
from worldmodel.device import Compute
from worldmodel.tokenizer import Tokenizer

PLAN = "plan.json"


def encoded_windows(data: DataSet, every: int) -> list[WindowIndex]:
    counts = data.counts.tolist()
    return [WindowIndex(e, s) for e, count in enumerate(counts) for s in range(0, count, every)]


def encode(
    sets: list[DataSet],
    use: DataConfig,
    tokenizer: Tokenizer,
    out: Path,
    plan: dict[str, object],
    device: torch.device,
) -> int:
    """Write what is missing of a plan; returns the number of windows in all shards."""
    size, every = int(str(plan["shard"])), int(str(plan["every"]))
    dtype, skip = DTYPES[str(plan["dtype"])], plan["on_error"] == "skip"
    listed = []
    for number, data in enumerate(sets):
        indices = encoded_windows(data, every)
        starts = range(0, len(indices), size)
        for first in progress.each(starts, f"encoding {data.name}", "shard"):
            path = out / f"set-{number:02d}-{first // size:06d}.safetensors"
            marker = path.with_suffix(".json")
            if not (path.is_file() and marker.is_file()):
                windows = []
                for start in indices[first : first + size]:
                    try:
                        windows.append(data.window(start))
                    except DamagedRecord as error:
                        if not skip:
                            raise
                        append_record(out / "skipped.jsonl", {"reason": str(error)})
                if windows:
                    write_shard(path, stack(windows), tokenizer, dtype, device)
                write_bytes(marker, json.dumps({"windows": len(windows)}).encode())
            count = int(json.loads(marker.read_text())["windows"])
            if count:
                listed.append({"file": path.name, "windows": count, "set": data.name})
    if not listed:
        raise UserError(f"{out}: there is nothing to encode, every episode is too short.")
    read_shard(out / str(listed[-1]["file"]), int(str(listed[-1]["windows"])))
    index = {
        "settings": settings_of(tokenizer, use.windows),
        "plan": plan,
        "shards": listed,
    }
    write_bytes(out / INDEX, json.dumps(index, indent=1).encode())
    return int(np.sum([int(str(shard["windows"])) for shard in listed]))


@command("encode", __doc__)
def main(config: DictConfig) -> None:
    source: object = build(config.data.source, object)
    if not isinstance(source, DataSource):
        raise UserError("encode reads data sets, not tokens: choose another data=.")
    if config.out is None:
        raise UserError("encode needs out=FOLDER, where the tokens go.")
    if config.dtype not in DTYPES:
        raise UserError(f"unknown dtype {config.dtype!r}.{nearest(str(config.dtype), DTYPES)}")
    if config.every < 1 or config.shard < 1:
        raise UserError("encode: every and shard must be at least 1.")
    use = build(config.data.use, DataConfig)
    tokenizer = build(config.tokenizer, Tokenizer)  # type: ignore[type-abstract]
    device = Compute.of(config.device, "float32", "").device
    plan: dict[str, object] = {
        "data": ", ".join(each.root for each in source.chosen()),
        "splits": [each.split for each in source.chosen()],
        "cameras": [each.camera for each in source.chosen()],
        "frame_rate": source.frame_rate,
        "crop": source.crop,
        "every": int(config.every),
        "shard": int(config.shard),
        "dtype": str(config.dtype),
        "after_end": use.after_end,
        "after_departure": use.after_departure,
        "on_error": source.on_error,
        **settings_of(tokenizer, use.windows),
    }
    shards = ("*.safetensors", "*-*.json")
    out = open_run("encode", plan, out=config.out, results=shards, file=PLAN, history=False)
    # Nothing reads actions or states of tokens, whose sizes differ from set to set.
    sets = source.open(use, tokenizer.picture, video_only=True)
    windows = encode(sets, use, tokenizer, out, plan, device)
    size = sum(path.stat().st_size for path in out.glob("*.safetensors"))
    print(f"{out}: {windows:,} windows, {size / 1e6:,.1f} MB")


if __name__ == "__main__":
    main()
