"""Draw a prompt with a run's adapter at every strength at once, so that a slider over strengths answers at once."""

from labkit.errors import LabError
from labkit.lessons.prompt_box import words_never_shown
from labkit.store.history import Samples
from labkit.view.race_data import encoded

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)  # 0 is the untouched base


def drawn(lab, run, prompt: str, seed: int = 0) -> dict:
    """Return a prompt drawn at STRENGTHS as WebP, in one pass, with what there is to say of the prompt.

    LabError: there is no prompt, or the base trains; nothing waits for it.
    """
    if not prompt:
        raise LabError("There is nothing to draw: type a prompt.")
    if not lab.base.lock.acquire(blocking=False):
        raise LabError("The base is training: pause it, or draw when it is done.")
    try:
        pictures = lab.generate([prompt], [seed], run=run, strength=STRENGTHS)[:, 0]
    finally:
        lab.base.lock.release()
    samples = Samples(0, (prompt,) * len(pictures), (seed,) * len(pictures), 0.0, 1.0, images=pictures)
    return {"prompt": prompt, "strengths": list(STRENGTHS), "images": encoded(samples, len(pictures)),
            "words": words_never_shown(lab, prompt)}
