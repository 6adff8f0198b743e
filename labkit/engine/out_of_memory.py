"""Turn an allocator's error of running out of memory into one sentence with a remedy."""

import contextlib
from collections.abc import Iterator

import torch

from labkit.errors import LabError

# RuntimeErrors of c10/core/impl/alloc_cpu.cpp; of aten/src/ATen/mps/MPSAllocator.mm and the CUDA runtime; of cuBLAS
WORDS = ("DefaultCPUAllocator", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


@contextlib.contextmanager
def enough_memory(what: str, remedy: str) -> Iterator[None]:
    """Raise LabError, with the allocator's own error as its cause, where what is done within runs out of memory.

    what      the subject of the sentence "... does not fit into this device's memory."
    remedy    a sentence of its own
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise LabError(f"{what} does not fit into this device's memory. {remedy}") from error


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error means that memory ran out: by its class on a GPU, by its words elsewhere."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in WORDS)


def choose(device: torch.device, dtype: torch.dtype, *smaller: str, elsewhere: str = "device='cpu'") -> str:
    """Say what to choose: something smaller, 16 bits where a GPU holds a U-Net in 32, or another device.

    elsewhere     the remedy of another device, where the device is not the CPU already
    """
    if device.type == "cpu":
        elsewhere = "a machine with more free memory"
    elif dtype == torch.float32:
        smaller += ("16 bits (dtype='fp16')",)
    return f"Choose {', '.join(smaller)}{' or ' * bool(smaller)}{elsewhere}."
