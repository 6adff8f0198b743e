"""Hold tensors of several shapes as one value, indexed by picture as a tensor is. C H W of one picture."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


class Ragged:
    """Hold a tensor for each of n pictures, whose shapes differ."""

    def __init__(self, rows: Sequence[Tensor]):
        """Take them in the order of the pictures."""
        self.rows = tuple(rows)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.rows)

    def __iter__(self) -> Iterator[Tensor]:
        """Give one after the other."""
        return iter(self.rows)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Any:
        """Give one tensor by its number, or several as `together` does."""
        if isinstance(index, int):
            return self.rows[index]
        if isinstance(index, slice):
            return together(self.rows[index])
        return together([self.rows[int(i)] for i in index])


def together(rows: Sequence[Tensor]) -> Tensor | Ragged:
    """Return tensors of one shape as one, (n, ...); else, or where there are none, as Ragged."""
    return torch.stack(list(rows)) if len({row.shape for row in rows}) == 1 else Ragged(rows)


def by_shape(value: Tensor | Ragged) -> list[list[int]]:
    """Return the numbers of the pictures of each shape, in the order of the first of each."""
    if not isinstance(value, Ragged):
        return [list(range(len(value)))]
    numbers: dict[tuple[int, ...], list[int]] = {}
    for i, row in enumerate(value):
        numbers.setdefault(tuple(row.shape), []).append(i)
    return list(numbers.values())
