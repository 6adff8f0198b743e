"""Randomness by function, not by state: every draw comes from a generator named by seed, purpose and index."""

import hashlib
import operator


def seed63(seed: int, purpose: str, *index) -> int:
    """Return 63 bits of the SHA-256 of the joined names; indices are whole numbers or words."""
    return int.from_bytes(hashlib.sha256(_key(seed, purpose, *index)).digest()[:8], "big") >> 1


def generator(seed: int, purpose: str, *index):
    """Return a torch.Generator on the CPU for one draw, the same whatever was drawn before."""
    import torch

    return torch.Generator().manual_seed(seed63(seed, purpose, *index))


def _key(seed, purpose, *index) -> bytes:
    words = [word if isinstance(word, str) else str(operator.index(word)) for word in (seed, purpose, *index)]
    return "\x1f".join(words).encode()
