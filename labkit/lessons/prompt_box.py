"""A box to ask a base for pictures, and the first pictures of a folder."""

import re

import numpy as np

from labkit.view.cards import QUIET, error_card
from labkit.view.frontend import frontend, say, show
from labkit.view.pictures import COLUMNS, plot_pictures


def folder_pictures(folder, size: int, count: int = COLUMNS):
    """Return the first `count` pictures of a PictureFolder, uint8 (count, size, size, 3), with their captions."""
    first = folder.take(count)
    return first.pixels(size), list(first.captions)


def unknown_words(prompt: str, captions) -> list[str]:
    """Return the words of a prompt that are in none of the captions, in order."""
    known = {word for caption in captions for word in words_of(caption)}
    return [word for word in dict.fromkeys(words_of(prompt)) if word not in known]


def words_of(text: str) -> list[str]:
    """Return the words of a text in small letters."""
    return re.findall(r"[a-z]+", text.lower())


def words_never_shown(lab, prompt: str) -> str:
    """Say which words of a prompt the embedded base has never been shown; nothing is known of other bases."""
    if lab.base_name != "embedded":
        return ""
    unknown = unknown_words(prompt, lab.territory.ordinary.captions)
    return f"Words that this base has never been shown: {', '.join(unknown)}." if unknown else ""


class PromptBox:
    """Draw what is typed: with the untouched base and, beside it, with a run's adapter.

    lab       a Lab
    run       a Run whose adapter is drawn beside the base, or None
    prompt    the text to begin with

    Where nobody can type, a cell that ends with the box draws the text to begin with.
    """

    def __init__(self, lab, run=None, prompt="a living room with a red sofa", seed=0):
        """Draw nothing yet."""
        self.lab, self.run, self.prompt, self.seed = lab, run, prompt, seed
        self.pictures = None                                  # (base, adapted) uint8, after `draw`
        self._asked = None                                    # prompt and seed that were drawn last

    def draw(self):
        """Draw the prompt and return the figure."""
        pictures, names = [self.lab.generate(self.prompt, [self.seed])[0]], ["the untouched base"]
        if self.run is not None:
            pictures.append(self.lab.generate(self.prompt, [self.seed], run=self.run)[0])
            names.append("with the adapter")
        self.pictures = np.stack(pictures)
        return plot_pictures(self.pictures, names, width=1.9 * max(4, len(pictures)))

    def comment(self) -> str:
        """Say which words of the prompt the embedded base has never been shown; nothing is known of other bases."""
        return words_never_shown(self.lab, self.prompt)

    @property
    def widget(self):
        """Return the box as a widget, built at first use."""
        if not hasattr(self, "_widget"):
            self._widget = self._build()
        return self._widget

    def _build(self):
        import ipywidgets as W  # a figure of pictures does without

        self._text = W.Text(value=self.prompt, layout=W.Layout(width="480px"), continuous_update=False)
        self._seed = W.BoundedIntText(value=self.seed, min=0, max=10**6, description="seed",
                                      layout=W.Layout(width="150px"))
        button = W.Button(description="Draw", button_style="primary")
        self._picture, self._words = W.Image(format="jpeg", layout=W.Layout(width="460px", display="none")), W.HTML()
        button.on_click(lambda _: self._clicked(button))
        self._text.observe(lambda _: self._clicked(button), names="value")  # Enter, or leaving the box
        for css, widget in {"lab-prompt": self._text, "lab-draw": button, "lab-drawn": self._picture,
                            "lab-unknown": self._words}.items():
            widget.add_class(css)
        return W.VBox([W.HBox([self._text, self._seed, button]), self._words, self._picture])

    def _clicked(self, button):
        """Draw at once, since it takes about a second; but never wait for a training, which holds the base's lock."""
        if not self.lab.base.lock.acquire(blocking=False):
            self._words.value = f"<span style='{QUIET}'>The base is training: draw when it is done.</span>"
            return
        asked = self._text.value.strip(), self._seed.value
        if asked == self._asked:                              # a click on Draw leaves the box first
            self.lab.base.lock.release()
            return
        (self.prompt, self.seed), self._asked, button.disabled = asked, asked, True
        try:
            self._words.value = f"<span style='{QUIET}'>drawing</span>"
            self._picture.value = self.draw().encoded()
            self._picture.layout.display = ""
            self._words.value = f"<span style='{QUIET}'>{self.comment()}</span>"
        except BaseException as error:                        # what a callback raises would only reach a log
            self._words.value = error_card(error)
        finally:
            self.lab.base.lock.release()
            button.disabled = False

    def _ipython_display_(self):
        if frontend() == "headless":
            show(self.draw())
            say(self.comment())
        else:
            show(self.widget)
