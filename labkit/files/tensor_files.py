"""Tensor files whose header has a checksum over everything else in them, so that damage is noticed."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
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


def sealed(tensors: Mapping[str, np.ndarray], words: Mapping[str, str] = NO_WORDS,
           bfloat16: Collection[str] = ()) -> bytes:
    """Return a safetensors file of arrays and header words, with their checksum.

    bfloat16    names of float32 arrays that are kept as bfloat16, the upper half of each number
    """
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    halves = {name: (arrays[name].view(np.uint32) >> 16).astype("<u2") for name in bfloat16}
    data = save(arrays | halves, metadata=dict(words) | {CHECKSUM: _checksum(arrays, words)})
    return _as_bfloat16(data, halves) if halves else data


def _as_bfloat16(data: bytes, names: Iterable[str]) -> bytes:
    """Return a file in whose header these arrays, written as uint16, are bfloat16: numpy has no name for that."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    for name in names:
        header[name]["dtype"] = "BF16"
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)                           # so that numbers begin where a processor likes it
    return len(text).to_bytes(8, "little") + text + data[8 + length:]


def opened(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays and header words of a file; LabError when it cannot be read or is not as it was written.

    Those in bfloat16 come as float32.
    A file without a checksum, as older versions and other programs write them, must hold finite numbers.
    """
    require_regular(Path(path))
    try:
        with safetensors.safe_open(str(path), framework="np") as file:
            words = dict(file.metadata() or {})
            halves = [name for name in file.keys() if file.get_slice(name).get_dtype() == "BF16"]
            arrays = {name: file.get_tensor(name) for name in file.keys() if name not in halves}
        arrays |= widened(path, halves)
    except UNREADABLE as error:
        raise LabError(f"{path} cannot be read as a tensor file ({error}).") from None
    stated = words.pop(CHECKSUM, None)
    if stated is not None and stated != _checksum(arrays, words):
        raise LabError(f"{path} is damaged: it does not match its checksum.")
    numbers = [array for array in arrays.values() if array.dtype.kind == "f"]
    if stated is None and not all(np.isfinite(array).all() for array in numbers):
        raise LabError(f"{path} is damaged: it holds numbers that are not finite.")
    return arrays, words


def widened(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return a file's arrays in bfloat16, which numpy has no type for, as float32, whose upper half it is."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        about, arrays = json.loads(file.read(length)), {}
        for name in names:
            begin, end = about[name]["data_offsets"]
            file.seek(8 + length + begin)
            halves = np.frombuffer(file.read(end - begin), dtype="<u2").astype(np.uint32)
            arrays[name] = (halves << 16).view(np.float32).reshape(about[name]["shape"])
        return arrays


def _checksum(arrays: Mapping[str, np.ndarray], words: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(words):
        digest.update(f"{name!r} {words[name]!r}\n".encode("utf-8", "surrogatepass"))
    for name in sorted(arrays):
        digest.update(f"{name!r} {arrays[name].shape} {arrays[name].dtype}\n".encode("utf-8", "surrogatepass"))
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
