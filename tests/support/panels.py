"""What tests of the panel share: a design that trains in a moment, and the few gestures of a person."""

import threading
import time

START = {"max_train_steps": 5, "train_batch_size": 2}


def press(panel, what, **more):
    """Do what a message of the panel's widget asks, as when a person presses a button."""
    panel._view.hear({"do": what, **more})


def turn_knob(panel, name, text):
    """Click a rung of a knob."""
    press(panel, "value", knob=name, text=text)


def knobs(panel):
    """Return the knobs that are shown by name, each as {text: rung}."""
    return {knob["name"]: {rung["text"]: rung for rung in knob["rungs"]} for knob in panel._view.state["knobs"]}


def chosen(panel, name):
    """Return the texts of the rungs that are chosen at a knob."""
    return [text for text, rung in knobs(panel)[name].items() if rung["chosen"]]


def shown(panel):
    """Return the names of the runs in the race that is shown, in the order of its legend."""
    race = panel._view.race
    return [piece["name"] for piece in race.data.pieces if piece["kind"] == "run"] if race else []


def done(panel):
    """Return how many updates the panel says are done."""
    return panel._view.widget.progress["done"]


def threads_that_train():
    """Return the threads in which panels train."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("labkit-train")]


def begin(panel, steps=100_000):
    """Press Train on what is too long to end by itself, and wait for its first update."""
    panel.change(max_train_steps=steps)
    press(panel, "train")
    until(lambda: done(panel) >= 1)


def rest(panel):
    """Pause, and wait until the panel rests."""
    press(panel, "pause")
    until(lambda: panel._view.state["mode"] == "paused")


def until(condition, seconds=300):
    """Wait for a condition; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"still waiting after {seconds} s"
        time.sleep(0.01)
