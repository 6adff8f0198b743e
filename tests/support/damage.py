"""Files with flipped bits, and what reading them gives."""




def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def said(history):
    """Return everything that a history says, in a form that can be compared."""
    curves = {name: (curve.steps.tolist(), curve.losses.tobytes()) for name, curve in history.validations.items()}
    return (history.status, history.config, history.meta, history.time_s, curves, {name: column.tobytes() for name, column in history.steps.items()},
            [sample.paths for sample in history.samples])


def contents(found):
    parts = (found.adapter, found.optimizer) if hasattr(found, "adapter") else (found,)
    return [{name: (array.shape, array.dtype, array.tobytes()) for name, array in part.items()} for part in parts]
