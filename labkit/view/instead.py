"""What a page says where it cannot show what moves: one sentence, above the figure that stands in its place."""

import html

RACE = ("This picture stands for a race that can be played, which this page does not do: open the notebook in "
        "Jupyter and run this cell again, or choose Trust Notebook there, in the menu File or the command palette.")
# At most 110 characters: where a front end knows no widgets at all, that much of a widget's text is shown.
GROWING = "The race stands here when its runs end; to see it grow, install anywidget where Jupyter is, and reload."
PANEL = ("The panel needs a running kernel, and the package anywidget where Jupyter itself is installed: run this "
         "cell again; if no buttons appear then, install anywidget there and reload the page, or train without them "
         "by panel.run() and panel.figures().")
LATE_S = 8                                                    # a widget is there before, on a slow machine too
UNSEEN = "lab-unseen"                                         # of what a widget hides once it is shown after all
HIDING = f".{UNSEEN} {{ display: none }}"


def notice(words: str, *, is_late: bool = False) -> str:
    """Return a sentence as HTML; late, it is seen only after LATE_S, for where a widget may still come."""
    style, late = "margin:4px 0 8px", ""
    if is_late:
        late = "<style>@keyframes lab-late { from { visibility: hidden; max-height: 0 } }</style>"
        style += f";overflow:hidden;animation:lab-late {LATE_S}s step-end"
    return f'{late}<p class="lab-instead" style="{style}">{html.escape(words)}</p>'
