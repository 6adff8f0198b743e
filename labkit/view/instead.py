"""The sentence of a page that cannot show a race or a panel, above the figure that stands in its place."""

import html

RACE = ("This picture stands for a race that can be played, which this page does not do: open the notebook in "
        "Jupyter and run this cell again, or choose Trust Notebook there, in the menu File or the command palette.")
GROWING = ("The race stands here when its runs end. To see it grow, install anywidget where Jupyter itself is "
           "installed, and reload the page; where the kernel is gone, run this cell again.")
PANEL = ("The panel needs a running kernel, and the package anywidget where Jupyter itself is installed: run this "
         "cell again; if no buttons appear then, install anywidget there and reload the page, or train without them "
         "by panel.run() and panel.figures().")
LATE_S = 8                                                    # a widget is there before, on a slow machine too


def place(name: str) -> str:
    """Return the id of the element that stands in a widget's place and that the widget hides, once it is shown."""
    return f"lab-saved-{name}"


def for_widget(name: str, words: str, *, is_late: bool) -> str:
    """Return a sentence as HTML that stands for the widget in the output above it, as long as there is none.

    It takes the place of what the front end says then: "Loading widget", "Error displaying widget", a red box.
    """
    above = f".jp-OutputArea-child:has(+ .jp-OutputArea-child #{place(name)}):not(:has(.lab-panel, .lab-race))"
    return f"<style>{above} {{ display: none }}</style>{notice(words, is_late=is_late)}"


def notice(words: str, *, is_late: bool = False) -> str:
    """Return a sentence as HTML; late, it is seen only after LATE_S, for where a widget may still come."""
    style, late = "margin:4px 0 8px", ""
    if is_late:
        late = "<style>@keyframes lab-late { from { visibility: hidden; max-height: 0 } }</style>"
        style += f";overflow:hidden;animation:lab-late {LATE_S}s step-end"
    return f'{late}<p class="lab-instead" style="{style}">{html.escape(words)}</p>'
