"""A command of a recipe: notes its run in a file, and fails if the file `fail` is beside it."""

import sys
from pathlib import Path

if __name__ == "__main__":
    log = Path(sys.argv[1])
    with log.open("a") as file:
        file.write(f"{sys.argv[2]}\n")
    sys.exit(3 if (log.parent / "fail").exists() else 0)
