"""Check that weights, latents and captions are finite, so that the learning rate is not blamed for a NaN loss."""

from labkit.engine.base import Base
from labkit.engine.cache import Cache, Encoded
from labkit.errors import LabError


def check_inputs(base: Base, cache: Cache, prior: Encoded | None = None) -> None:
    """Raise LabError where the base's weights or the encoded pictures and captions are not finite.

    prior     the encoded pictures of the base
    """
    for name, weight in base.unet.named_parameters():
        if not weight.isfinite().all():
            raise LabError(f"The base {base.name} is damaged: {name} holds numbers that are not finite, "
                           "whatever the learning rate. Get its files again.")
    sets = {"training": cache.train, "base's own": prior}
    for kind, pictures in sets.items():
        if pictures is None:
            continue
        for i in range(len(pictures)):
            tensors = (pictures.mean[i], pictures.std[i], *(value[i] for value in pictures.cond.values()))
            if not all(tensor.isfinite().all() for tensor in tensors):
                raise LabError(f"Encoded, the {kind} picture {_named(pictures, i)} or its caption "
                               "holds numbers that are not finite, "
                               "whatever the learning rate: leave it out, or load the base with dtype float32.")
    if not all(value.isfinite().all() for value in cache.null_cond.values()):
        raise LabError("Encoded, the empty caption holds numbers that are not finite, whatever the learning rate: "
                       "load the base with dtype float32.")


def _named(pictures: Encoded, i: int) -> str:
    return pictures.paths[i].name if pictures.paths else f"number {i + 1}"
