"""Randomness by function, not by state: every draw comes from a generator named by seed, purpose and index."""

import hashlib
import operator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

TWISTER_WORDS = 624  # state of the Mersenne twister


def seed63(seed: int, purpose: str, *index: int | str) -> int:
    """Return 63 bits of the SHA-256 of the joined names; indices are whole numbers or words."""
    return int.from_bytes(hashlib.sha256(_key(seed, purpose, *index)).digest()[:8], "big") >> 1


def generator(seed: int, purpose: str, *index: int | str) -> "torch.Generator":
    """Return a torch.Generator on the CPU for one draw, the same whatever was drawn before.

    torch keeps only the lower 32 bits of a CPU seed, so that among the draws of some hundred runs about one pair would
    be the same noise. The twister's whole state is therefore filled from the name (SHAKE-256), behind the header that
    torch itself wrote.
    """
    import numpy as np  # here, since those who need `seed63` alone load without numpy and torch
    import torch

    filled = torch.Generator().manual_seed(seed63(seed, purpose, *index))
    state = filled.get_state()
    words = np.frombuffer(hashlib.shake_256(_key(seed, purpose, *index)).digest(4 * TWISTER_WORDS), "<u4")
    # seed, flags, position, words
    state.view(torch.int64)[3 : 3 + TWISTER_WORDS] = torch.from_numpy(words.astype(np.int64))
    return filled.set_state(state)


def _key(seed: int, purpose: str, *index: int | str) -> bytes:
    words = [word if isinstance(word, str) else str(operator.index(word)) for word in (seed, purpose, *index)]
    return "\x1f".join(words).encode()
