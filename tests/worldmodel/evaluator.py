"""Stands for a command that evaluates a checkpoint."""

import json
import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    given = dict(argument.split("=") for argument in sys.argv[1:])
    out = Path(given["out"])
    (out.parent / "pid").write_text(str(os.getpid()))
    if "hang" in given:
        time.sleep(600)
    if "fail" in given:
        sys.exit("the simulator is not there")
    step = json.loads((Path(given["checkpoint"]) / "config.json").read_text())["step"]
    figures = {
        "success": {"rate": 0.5, "of": step},
        "names": ["a"],
        "world": os.environ.get("RANK"),
    }
    (out / "figures.json").write_text(json.dumps(figures))
