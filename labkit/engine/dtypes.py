"""In which precision a frozen base is kept and computes: what the device is best at, unless it is given."""

from pathlib import Path

import torch

from labkit.errors import LabError
from labkit.settings import switch

DTYPES = {"no": torch.float32, "fp32": torch.float32, "float32": torch.float32, "bf16": torch.bfloat16,
          "bfloat16": torch.bfloat16, "fp16": torch.float16, "float16": torch.float16}
MIXED = {"bf16": torch.bfloat16, "fp16": torch.float16}       # mixed_precision of a run; "no" leaves the base as it is


def name_of(dtype: torch.dtype) -> str:
    """Give "float32", "bfloat16" or "float16"."""
    return str(dtype).removeprefix("torch.")


def chosen_dtype(requested: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """Return the dtype that is given, as torch.dtype or text; where None, LABKIT_DTYPE's, else the device's best.

    bfloat16 on a CUDA device that computes in it, float16 on one that does not, float32 on CPU and mps.
    LabError: no such dtype.
    """
    where = "dtype" if requested is not None else "LABKIT_DTYPE"
    requested = requested if requested is not None else switch("LABKIT_DTYPE").strip() or None
    if requested is None:
        return torch.float32 if device.type != "cuda" else torch.bfloat16 if has_bfloat16(device) else torch.float16
    dtype = DTYPES.get(requested, requested)
    if dtype not in DTYPES.values():
        raise LabError(f"{where}: {requested!r} is not one of float32, bfloat16, float16.")
    return dtype


def check_mixed_precision(mixed_precision: str, device: torch.device) -> None:
    """Raise LabError where a run's mixed_precision gains nothing on the device or is not computed by it."""
    remedy = "leave mixed_precision out (it is 'no'), which computes in what the device is best at."
    if mixed_precision == "bf16" and device.type == "cpu" and not has_amx():
        raise LabError("mixed_precision = 'bf16' is not possible on this CPU: "
                       f"without AMX it takes longer than float32; {remedy}")
    if mixed_precision == "fp16" and device.type == "cpu":
        raise LabError("mixed_precision = 'fp16' is not possible on a CPU, which computes in float32 or, with AMX, "
                       f"in bf16; {remedy}")
    if mixed_precision == "bf16" and device.type == "cuda" and not has_bfloat16(device):
        raise LabError(f"mixed_precision = 'bf16' is not possible on {torch.cuda.get_device_name(device)}, "
                       f"which has no bfloat16: give fp16, or {remedy}")


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether a CUDA device has matrix units for bfloat16, which others only imitate.

    Those of compute capability 8.0 and more have, and AMD's.
    """
    return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)


def has_amx(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether this CPU multiplies matrices in bfloat16 (AMX); known on Linux alone."""
    try:
        return "amx_bf16" in cpuinfo.read_text().split()
    except OSError:
        return False


def keep_float32() -> None:
    """Compute float32 in float32 on CUDA too: TF32 rounds to 10 bits, and is torch's default in convolutions.

    Encoded pictures are shared between machines and runs are compared with other programs' to rounding; 16 bits are
    for speed.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def sentence(device: torch.device, dtype: torch.dtype) -> str:
    """Say what is computed in, and how to choose otherwise."""
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    scaled = ", each run's loss scaled" if dtype == torch.float16 else ""
    return (f"The U-Net computes in {name_of(dtype)}{scaled} on {where}, adapters in float32 (TF32 is off); "
            "dtype= or LABKIT_DTYPE chooses otherwise.")
