"""Tensor files that know when they are damaged: their header carries a checksum over everything else in them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import safetensors
from safetensors.numpy import save

from labkit.errors import LabError
from labkit.files.regular import require_regular

CHECKSUM = "checksum"
NO_WORDS: Mapping[str, str] = MappingProxyType({})

# What safetensors and numpy raise on files that are damaged or no tensor files at all.
UNREADABLE = (OSError, safetensors.SafetensorError, ValueError, TypeError, KeyError, OverflowError, AttributeError)


def sealed(tensors: Mapping[str, np.ndarray], words: Mapping[str, str] = NO_WORDS) -> bytes:
    """Return a safetensors file of arrays and header words, with their checksum."""
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    return save(arrays, metadata=dict(words) | {CHECKSUM: _checksum(arrays, words)})


def opened(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays and header words of a file; LabError when it cannot be read or is not as it was written.

    A file without a checksum, as older versions and other programs write them, must hold finite numbers.
    """
    require_regular(Path(path))
    try:
        with safetensors.safe_open(str(path), framework="np") as file:
            words = dict(file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except UNREADABLE as error:
        raise LabError(f"{path} cannot be read as a tensor file ({error}).") from None
    stated = words.pop(CHECKSUM, None)
    if stated is not None and stated != _checksum(arrays, words):
        raise LabError(f"{path} is damaged: it does not match its checksum.")
    numbers = [array for array in arrays.values() if array.dtype.kind == "f"]
    if stated is None and not all(np.isfinite(array).all() for array in numbers):
        raise LabError(f"{path} is damaged: it holds numbers that are not finite.")
    return arrays, words


def _checksum(arrays: Mapping[str, np.ndarray], words: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(words):
        digest.update(f"{name!r} {words[name]!r}\n".encode("utf-8", "surrogatepass"))
    for name in sorted(arrays):
        digest.update(f"{name!r} {arrays[name].shape} {arrays[name].dtype}\n".encode("utf-8", "surrogatepass"))
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
