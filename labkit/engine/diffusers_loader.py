"""One adapter file on a base's U-Net by diffusers' own loader: for files that `foreign_stacks` cannot place."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labkit.engine.adapters import bare
from labkit.engine.base import Base
from labkit.engine.loading import pipeline, quiet
from labkit.errors import LabError

NAME = "judged"


class LoadedFile:
    """Stand for a stack of one run wherever a base draws or is measured: PEFT's layers hold it while attached."""

    K = 1

    def __init__(self, base: Base, file: Path, strength: float = 1.0):
        """Name an adapter file and its strength; nothing is loaded yet."""
        self.base, self.file, self.strength = base, file, strength
        self._is_on = False

    @contextlib.contextmanager
    def attached(self) -> Iterator["LoadedFile"]:
        """Hold the adapter on the U-Net; inside another `attached` of the same file nothing changes.

        LabError: diffusers does not read the file, or finds nothing in it for the U-Net.
        """
        if self._is_on:
            yield self
            return
        with self.base.lock, bare(self.base.unet):
            with quiet():
                pipe = pipeline(self.base)
            try:
                with quiet():
                    _load(pipe, self.file, self.strength)
                self.base.unet.requires_grad_(False)
                self._is_on = True
                yield self
            finally:
                self._is_on = False
                with quiet(), contextlib.suppress(ValueError):
                    pipe.unload_lora_weights()
                self.base.unet.requires_grad_(False)


def _load(pipe: Any, file: Path, strength: float) -> None:
    try:
        pipe.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=NAME)
        if NAME not in pipe.get_list_adapters().get("unet", []):
            raise ValueError("it finds no layer of this U-Net in it")
        pipe.set_adapters(NAME, strength)
    except (ValueError, OSError, KeyError, RuntimeError, IndexError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise LabError(f"{file} cannot be loaded by diffusers on this base ({reason}): judge it on the base that it "
                       "was trained on, or export it again in another form.") from None
