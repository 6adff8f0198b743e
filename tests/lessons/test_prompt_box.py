"""The box that draws what is typed."""

import threading
from types import SimpleNamespace

from labkit.lessons.prompt_box import PromptBox


def test_a_prompt_box_does_not_wait_for_a_training_that_holds_the_base(monkeypatch):
    monkeypatch.setenv("LABKIT_FRONTEND", "browser")
    held, drawn = threading.RLock(), []
    lab = SimpleNamespace(base=SimpleNamespace(lock=held), base_name="other")
    box = PromptBox(lab)
    box.draw = lambda: drawn.append(1)
    _ = box.widget
    release, taken = threading.Event(), threading.Event()
    training = threading.Thread(target=lambda: (held.acquire(), taken.set(), release.wait(30), held.release()))
    training.start()
    taken.wait(30)
    box._clicked(SimpleNamespace(disabled=False))
    release.set()
    training.join()
    assert drawn == [] and "training" in box._words.value


def test_enter_draws_and_the_click_that_leaves_the_box_draws_nothing_more(monkeypatch):
    monkeypatch.setenv("LABKIT_FRONTEND", "browser")
    drawn = []
    lab = SimpleNamespace(base=SimpleNamespace(lock=threading.RLock()), base_name="other")
    box = PromptBox(lab)
    box.draw = lambda: drawn.append((box.prompt, box.seed)) or SimpleNamespace(encoded=lambda: b"")
    _ = box.widget
    box._text.value = "a red pool"                            # as Enter tells it
    box._clicked(SimpleNamespace(disabled=False))
    assert drawn == [("a red pool", 0)]
    box._seed.value = 1
    box._clicked(SimpleNamespace(disabled=False))
    assert drawn[1:] == [("a red pool", 1)]
