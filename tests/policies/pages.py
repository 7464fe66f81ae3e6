"""Records with videos on a disk, and a headless browser to open pages in."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

from envs.episode import EpisodeRecord
from envs.recorder import video_path


def record(index: int, success: bool = True, task: str = "move_near", **more: Any) -> EpisodeRecord:
    values: dict[str, Any] = {
        "task": task, "index": index, "seed": 100 + index, "robot_pose": "ab"[index % 2],
        "policy": "<b>mine</b>", "success_at_end": success, "success_ever": success,
        "success_strict": success, "subtask": 0, "steps": 80, "calls": 27, "seconds": 1.0,
        "policy_seconds": 0.5, "versions": {"numpy": "2"}, "assets": "primitives",
        "start": {"object": [-0.3 + 0.01 * index, 0.02 * index, 0.9]},
    }  # fmt: skip
    return EpisodeRecord(**(values | more))


def evaluation(folder: Path, outcomes: str, task: str = "move_near") -> Path:
    """Write a run of `policies.eval`: its records, `+` or `-` each, and a video of each."""
    (folder / "videos").mkdir(parents=True)
    lines = [record(i, mark == "+", task).to_json() for i, mark in enumerate(outcomes)]
    (folder / "episodes.jsonl").write_text("".join(f"{line}\n" for line in lines))
    for index in range(len(outcomes)):
        frames = np.full((12, 64, 80, 3), 40 + 10 * index, np.uint8)
        path = video_path(folder / "videos", task, index)
        iio.imwrite(path, frames, plugin="pyav", codec="libx264", fps=6)
    return folder


@contextlib.contextmanager
def browser(width: int, offline: bool = False) -> Iterator[tuple[Any, list[str]]]:
    """Open a tab; yield it and the list that its errors come to."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next((p for p in map(Path, _CHROMIUM) if p.exists()), None)
    if chromium is None:
        pytest.skip("there is no Chromium on this machine")
    with api.sync_playwright() as player:
        started = player.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        context = started.new_context(viewport={"width": width, "height": 800}, offline=offline)
        tab, errors = context.new_page(), list[str]()
        tab.on("console", lambda message: errors.append(message.text))
        tab.on("pageerror", lambda error: errors.append(str(error)))
        yield tab, errors
        started.close()


def opened(page: Path, width: int) -> dict[str, Any]:
    """Open a page offline; return its errors, its width in pixels and what its video plays."""
    requests: list[str] = []
    with browser(width, offline=True) as (tab, errors):
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(page.resolve().as_uri())
        played = tab.evaluate(_PLAY)
        scroll = tab.evaluate("document.documentElement.scrollWidth")
    outside = [url for url in requests if not url.startswith(("file:", "data:"))]
    return {"errors": errors, "outside": outside, "width": scroll, "played": played}


_CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
_PLAY = """async () => {
    const video = document.querySelector("video");
    await video.play();
    await new Promise(resolve => setTimeout(resolve, 400));
    return [video.currentTime > 0, video.videoWidth];
}"""
