"""Pages link to what exists, and name one version."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from experiment.settings import ROOT
from policies.checkpoint import SHIPPED

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "policies").rglob("*.md")]
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text()) if "://" not in link]
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_the_readme_has_links() -> None:
    assert len(_LINK.findall((ROOT / "README.md").read_text())) > 10


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed (extra docs)")
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True)
    first = (tmp_path / "index.html").read_text()
    assert "World model" in first
    assert 'href="tutorials/' in first


def test_both_packages_have_one_version() -> None:
    main, weights = (
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
        for folder in ("", SHIPPED)
    )
    version = main["version"]
    assert weights["version"] == version
    assert weights["dependencies"] == [f"self-flow-robotics=={version}"]
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text()
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
