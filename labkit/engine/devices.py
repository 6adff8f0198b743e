"""Choose the device that a base is put on: the one that is named, else the best there is."""

import torch

from labkit.errors import LabError


def find_device(device: str | torch.device | None = None) -> torch.device:
    """Return the device of this name, or the best there is; LabError: this torch has none such."""
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device is None:
        return torch.device("cuda" if has["cuda"] else "mps" if has["mps"] else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        raise LabError(f"device: {device!r} is not one of cpu, cuda, mps.") from None
    if not has.get(chosen.type, False):
        raise LabError(f"device: {device} is not available to this torch ({torch.__version__}); "
                       f"available here: {', '.join(name for name, there in has.items() if there)}.")
    return chosen
