"""Reads a saved state in several processes, sharded, and writes it whole."""

import sys
from pathlib import Path

from safetensors.torch import save_file

from tests.worldmodel import processes
from worldmodel.training.parallel import joined, ranks, whole_tensor

if __name__ == "__main__":
    with joined():
        made = processes.trainer(Path(sys.argv[1]), parallel="fsdp")
        tensors = {n: whole_tensor(t).contiguous() for n, t in made.state.tensors().items()}
        if ranks().first:
            save_file(tensors, Path(sys.argv[2]) / "read.safetensors")
        ranks().agreed(True)
