"""Round an adapter's weights to 16 bits, as most trainers save them, which halves the file.

float16 keeps 11 binary digits of numbers up to 65504, bfloat16 8 of them over float32's whole range. A file's own list
of tensors states its dtype to other programs; no trainer keeps it among its settings in the header.
"""

from collections.abc import Mapping

import numpy as np

from labkit.errors import LabError

DTYPES = ("float32", "float16", "bfloat16")


def rounded(tensors: Mapping[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """Return arrays rounded to a dtype of DTYPES, to the nearest value, ties to even, as torch does.

    Those in bfloat16, for which numpy has no type, are float32 arrays whose lower halves are zero.
    LabError: a number that is finite is too large for it.
    """
    wide = {name: np.asarray(array, np.float32) for name, array in tensors.items()}
    if dtype == "float32":
        return wide
    arrays = {name: _float16(array) if dtype == "float16" else _bfloat16(array) for name, array in wide.items()}
    for name, array in wide.items():
        if (np.isfinite(array) & ~np.isfinite(arrays[name])).any():
            remedy = "give --dtype bfloat16, which has float32's range, or" if dtype == "float16" else "to keep it,"
            raise LabError(f"--dtype {dtype} cannot hold the weight {name}, which reaches "
                           f"{np.abs(array[np.isfinite(array)]).max():.3g}: {remedy} leave --dtype out.")
    return arrays


def rounding_error(tensors: Mapping[str, np.ndarray], dtype: str) -> float:
    """Return the largest change of a matrix by rounding, as a share of its norm."""
    arrays, shares = rounded(tensors, dtype), [0.0]
    for name, array in tensors.items():
        exact = np.asarray(array, np.float64)
        if size := np.linalg.norm(exact):
            shares.append(float(np.linalg.norm(arrays[name] - exact) / size))
    return max(shares)


def _float16(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return array.astype(np.float16)


def _bfloat16(array: np.ndarray) -> np.ndarray:
    bits = array.view(np.uint32)
    up = np.where(np.isfinite(array), ((bits >> 16) & 1) + np.uint32(0x7FFF), np.uint32(0))
    return ((bits + up) & np.uint32(0xFFFF0000)).view(np.float32)
