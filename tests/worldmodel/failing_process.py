"""Runs in which one of several processes meets what the others do not.

python -m tests.worldmodel.failing_process data|nan|rights|passes FOLDER
"""

import sys
from pathlib import Path
from typing import Any

from experiment.errors import UserError, exit_on_user_error
from tests.worldmodel import processes
from worldmodel.training.parallel import joined, ranks


def main(case: str, folder: Path) -> None:
    second = ranks().rank == 1

    def before(step: int) -> None:
        if case == "data" and second and step == 1:
            raise UserError("window 7 of the second process is damaged")

    made = processes.trainer(
        folder / "run", before, accumulate=4 if case == "passes" else 1, save_seconds=0.0
    )
    loss: Any = made._loss

    def lost(*arguments: Any) -> Any:
        terms = loss(*arguments)
        if case == "nan" and second and made.step == 2:
            terms["total"] = terms["total"] * float("nan")
        return terms

    made._loss = lost
    if case == "rights" and second:
        # A disk that this process alone does not have; root is not stopped by permissions.
        made._states._folder = Path("/proc/nowhere/state")
    made.run()


if __name__ == "__main__":

    @exit_on_user_error
    def program() -> None:
        with joined():
            main(sys.argv[1], Path(sys.argv[2]))

    program()
