"""`python -m envs.doctor`: what this machine has, what is missing and how to fix it.

Exit code 1 when the tasks cannot be simulated with pictures, 0 otherwise.
"""

import argparse
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

SETUP = "run ./setup.sh"

PACKAGES = (
    *("torch", "mani-skill", "sapien", "gymnasium", "numpy", "ruckig", "hydra-core"),
    *("safetensors", "pyarrow", "av", "pillow"),
)


@dataclass(frozen=True)
class Finding:
    """One line of the report; `fix` is what to do where `good` is False.

    Without an `essential` thing no task can be simulated; the others are for some settings only.
    """

    name: str
    good: bool
    text: str
    fix: str = ""
    essential: bool = False


def python_version() -> Finding:
    """The version of Python."""
    text = f"{platform.python_version()} on {platform.platform(terse=True)}"
    good = sys.version_info >= (3, 11)
    return Finding("python", good, text, "install Python 3.11 or newer", essential=True)


def packages() -> Finding:
    """The packages that decide the outcome of an episode, with their versions."""
    installed, missing = [], []
    for name in PACKAGES:
        try:
            installed.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("packages", False, f"missing: {', '.join(missing)}", SETUP, essential=True)
    return Finding("packages", True, ", ".join(installed), essential=True)


def physics() -> Finding:
    """One step of a task without a renderer, in a separate process."""
    good, text = _run(_PHYSICS)
    return Finding("physics", good, text, SETUP, essential=True)


def renderer() -> Finding:
    """One frame drawn by SAPIEN, in a separate process, which a bad driver may crash."""
    good, text = _run(_FRAME)
    fix = f"{SETUP}, which installs a software Vulkan driver (Mesa's lavapipe) where it can"
    return Finding("renderer", good, text, fix, essential=True)


def gpu() -> Finding:
    """An NVIDIA GPU and a torch that can use it; none is needed."""
    listed = ""
    if shutil.which("nvidia-smi"):
        answer = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
        )
        listed = answer.stdout.strip().replace("\n", "; ") if answer.returncode == 0 else ""
    good, text = _run(_TORCH)
    if not listed:
        return Finding("gpu", True, f"none, and none is needed ({text})")
    if good and "cuda" in text:
        return Finding("gpu", True, f"{listed} ({text})")
    return Finding("gpu", False, f"{listed}, but {text}", "run TORCH=cuda ./setup.sh")


def assets() -> Finding:
    """The asset packs: primitives are in the code, SIMPLER's files are optional."""
    good, text = _run(_ASSETS)
    fix = "for assets=simpler: python -m envs.simpler.assets install, or set SIMPLER_ASSETS"
    return Finding("assets", good, text if good else f"primitives; {text}", fix)


def original() -> Finding:
    """The original simulator, where SIMPLER_ORIGINAL_PYTHON names an interpreter that has it."""
    python = os.environ.get("SIMPLER_ORIGINAL_PYTHON")
    if not python:
        return Finding(
            "original", True, "not set up; SIMPLER_ORIGINAL_PYTHON would name its python"
        )
    good, text = _run(_ORIGINAL.format(python=python))
    return Finding("original", good, text, "see docs/original.md")


def video_encoder() -> Finding:
    """A few frames to H.264 and back."""
    good, text = _run(_VIDEO)
    return Finding("video", good, text, SETUP)


def disk() -> Finding:
    """Room for runs and data sets in the current folder."""
    free = shutil.disk_usage(".").free / 1e9
    text = f"{free:.0f} GB free here; {len(os.sched_getaffinity(0))} cores"
    return Finding("machine", free > 1, text, "free some space: runs and data sets need 1 GB")


CHECKS: dict[str, Callable[[], Finding]] = {
    "python": python_version,
    "packages": packages,
    "physics": physics,
    "renderer": renderer,
    "gpu": gpu,
    "assets": assets,
    "original": original,
    "video": video_encoder,
    "machine": disk,
}

_PHYSICS = """
import numpy as np
from envs.simpler import make
env = make("open_and_place", resolution=None)
env.reset(seed=0)
_, _, _, _, info = env.step(np.zeros(7, dtype=np.float32))
assert info["elapsed_steps"] == 1, "the simulation did not step"
env.close()
print("open_and_place steps on the CPU")
"""

_FRAME = """
import numpy as np, sapien
device = sapien.render.RenderSystem().device
scene = sapien.Scene([sapien.physx.PhysxCpuSystem(), sapien.render.RenderSystem(device)])
scene.set_ambient_light([0.5, 0.5, 0.5])
builder = scene.create_actor_builder()
material = sapien.render.RenderMaterial(base_color=[1, 0, 0, 1])
builder.add_box_visual(half_size=[0.1, 0.1, 0.1], material=material)
builder.build_static("box").set_pose(sapien.Pose([1, 0, 0]))
camera = scene.add_camera("camera", 64, 64, 1.0, 0.01, 10)
scene.update_render()
camera.take_picture()
picture = np.asarray(camera.get_picture("Color"))[..., :3]
assert picture[32, 32, 0] > picture[32, 32, 1] + 0.3, "the frame came out without the red box"
print(f"{device.name or device}, drew a frame")
"""

_ASSETS = """
import os
from pathlib import Path
from envs.simpler.assets.manifest import default_root, missing, official
named = os.environ.get("SIMPLER_ASSETS")
root = Path(named).expanduser() if named else default_root()
if not root.is_dir() and not named:
    print("primitives; simpler is not installed (python -m envs.simpler.assets install)")
else:
    assert root.is_dir(), f"SIMPLER_ASSETS={root} does not exist"
    lacking = missing(root)
    assert len(lacking) < len(official().entries) / 2, f"{root} is no copy of SIMPLER's files"
    print(f"primitives; simpler in {root}" + (f", {len(lacking)} files missing" if lacking else ""))
"""

_ORIGINAL = """
import sys
from envs.original.check import check
from experiment.errors import UserError
try:
    print(check({python!r}))
except UserError as error:
    sys.exit(str(error))
"""

_TORCH = """
import torch
if torch.cuda.is_available():
    print(f"torch {torch.__version__} with cuda {torch.version.cuda}")
else:
    print(f"torch {torch.__version__} without a GPU, {torch.get_num_threads()} threads")
"""

_VIDEO = """
import io, av, numpy as np
from envs.dataset.video import encode
frames = np.zeros((4, 64, 80, 3), np.uint8)
with av.open(io.BytesIO(encode(frames, 3, crf=20, gop=2))) as video:
    assert len(list(video.decode(video=0))) == 4, "frames were lost"
print(f"H.264 through PyAV {av.__version__}")
"""


def report(names: list[str]) -> list[Finding]:
    """Make the checks called `names`, print a line each, and return the findings."""
    findings = []
    for name in names:
        finding = CHECKS[name]()
        sign = "ok     " if finding.good else "MISSING"
        print(f"{sign}  {finding.name:<9} {finding.text}")
        if not finding.good:
            print(f"{'':<9}{'':<10}fix: {finding.fix}")
        findings.append(finding)
    return findings


def _run(code: str) -> tuple[bool, str]:
    """Run `code` in a separate process; return whether it succeeded and its last line.

    A crash in a driver, a missing library and a missing package all end up in one line.
    """
    try:
        answer = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
        )
    except subprocess.TimeoutExpired:
        return False, "no answer within two minutes"
    output = answer.stdout if answer.returncode == 0 else answer.stderr
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    text = lines[-1] if lines else ""
    if answer.returncode < 0:
        text = f"ended by signal {-answer.returncode}" + (f" after: {text}" if text else "")
    return answer.returncode == 0, text


def main() -> None:
    parser = argparse.ArgumentParser("python -m envs.doctor", description=__doc__)
    parser.add_argument("--only", choices=list(CHECKS), help="make one check")
    chosen = parser.parse_args().only
    findings = report([chosen] if chosen else list(CHECKS))
    if any(finding.essential and not finding.good for finding in findings):
        print("\nThe tasks cannot be simulated here until what is missing is fixed.")
        sys.exit(1)


if __name__ == "__main__":
    main()
