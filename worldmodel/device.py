"""Where a model computes, and how precisely."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from experiment.errors import UserError

Precision = Literal["auto", "float32", "bfloat16"]
"""Of the products in a forward pass; weights, sums, norms and losses are always float32."""


@dataclass(frozen=True)
class Compute:
    """A device that is usable here, and the precision that products have on it."""

    device: torch.device
    precision: Literal["float32", "bfloat16"]

    @classmethod
    def of(cls, device: str, precision: str, prefix: str) -> "Compute":
        """Look up what is there; `auto` takes a GPU, and bfloat16 where it is the faster one.

        Raises `UserError` naming the setting, which has `prefix` before it, such as `trainer.`.
        """
        if precision not in ("auto", "float32", "bfloat16"):
            raise UserError(f"{prefix}precision={precision!r} must be auto, float32 or bfloat16.")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            usable = torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:
            raise UserError(
                f"{prefix}device={device!r} is not usable here: take cpu or auto."
            ) from error
        low = _computes_bfloat16(usable) if precision == "auto" else precision == "bfloat16"
        return cls(usable, "bfloat16" if low else "float32")

    def autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        )


CPU = Compute(torch.device("cpu"), "float32")

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Published dense bfloat16 rates, FLOP/s, of the SXM cards."""


def peak_rate(device: torch.device) -> float | None:
    """Return the published rate of a device, FLOP/s in bfloat16; None where none is known."""
    if device.type != "cuda":
        return None
    card = torch.cuda.get_device_name(device)
    return next((peak for name, peak in PEAKS.items() if name in card), None)


def _computes_bfloat16(device: torch.device) -> bool:
    """Return whether products in bfloat16 are faster than in float32 (elsewhere: far slower)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    facts = Path("/proc/cpuinfo")
    flags = facts.read_text().split() if facts.exists() else []
    return "avx512_bf16" in flags or "amx_bf16" in flags
