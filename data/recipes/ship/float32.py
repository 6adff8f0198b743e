"""What ships is computed in float32, on a card too, whose own choice is 16 bits: no run's id tells the two apart."""

import os

from labkit import machine


def compute_in_float32():
    """Have bases that are opened from now on compute in float32, unless LABKIT_DTYPE says otherwise."""
    os.environ.setdefault("LABKIT_DTYPE", "float32")
    machine.limit_torch()
