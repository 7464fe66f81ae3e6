"""The tutorials, typed as they are written: every block in order, in an empty folder."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from envs.simpler.scenes import rendering
from experiment.errors import UserError
from experiment.settings import ROOT

PAGES = sorted(path for path in (ROOT / "docs/tutorials").glob("*.md") if path.name != "README.md")
DRAWN = {"my_policy", "my_data"}
_BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\w+\.py)\n")


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Yield language and content of each block."""
    for match in _BLOCK.finditer(page.read_text()):
        yield match[1], match[2]


def test_there_are_four() -> None:
    assert len(PAGES) == 4
    assert all(list(blocks(page)) for page in PAGES)


@pytest.mark.slow
@pytest.mark.simulator
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_does_what_it_says(page: Path, tmp_path: Path) -> None:
    if page.stem in DRAWN:
        try:
            rendering.drawing_device()
        except UserError as error:
            pytest.skip(str(error))
    if "policies.table" in page.read_text():
        pytest.importorskip("pandas")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    for number, (language, content) in enumerate(blocks(page), start=1):
        named = _FILE.match(content)
        if named is not None:
            (tmp_path / named[1]).write_text(content)
            continue
        if language == "python":
            (tmp_path / f"block_{number}.py").write_text(content)
            command = [sys.executable, f"block_{number}.py"]
        else:
            command = ["bash", "-euc", content]
        ran = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, f"block {number}:\n{content}\n{ran.stdout}\n{ran.stderr}"
