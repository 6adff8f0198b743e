"""What tests of the panel share: a design that trains in a moment, and the few gestures of a person."""

import threading
import time

START = {"max_train_steps": 5, "train_batch_size": 2}


def controls(panel):
    """Return the knobs of a panel by name."""
    return {name: control for name, (_, control) in panel._view.knobs.items()}


def shown_as_png(image):
    """Tell whether an image widget holds a picture."""
    return bytes(image.value)[:4] == b"\x89PNG"


def threads_that_train():
    """Return the threads in which panels train."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("labkit-train")]


def begin(panel):
    """Press Train on a run too long to end by itself, and wait for its first update."""
    panel.change(max_train_steps=100_000)
    panel._view.train.click()
    until(lambda: panel._view.progress_bar.value >= 1)


def until(condition, seconds=300):
    """Wait for a condition; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"still waiting after {seconds} s"
        time.sleep(0.01)
