"""Files with flipped bits, and what reading them gives."""


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def values(run):
    """Return everything that a run holds, in a form that can be compared."""
    curves = {name: (curve.steps.tolist(), curve.losses.tobytes()) for name, curve in run.validations.items()}
    steps = {name: column.tobytes() for name, column in run.steps.items()}
    return run.status, run.config, run.meta, run.time_s, curves, steps, [sample.paths for sample in run.samples]


def contents(tensors):
    """Return the arrays of a checkpoint or of tensors by name, in a form that can be compared."""
    parts = (tensors.adapter, tensors.optimizer) if hasattr(tensors, "adapter") else (tensors,)
    return [{name: (array.shape, array.dtype, array.tobytes()) for name, array in part.items()} for part in parts]
