"""The cells of an executed notebook as HTML: prose, folded code, and outputs with their alternative texts."""

import base64
import html
import re

from labkit.cli.tools import load
from labkit.lessons import notebooks

LEFT_OUT = {"badges", "setup", "assert"}                      # tags of cells that serve whoever runs the lesson
LINK = re.compile(r'href="((?:\d\d_\w+)\.ipynb|(?:\.\./)+[^"]*)"')

readme = load("readme")


def lesson(notebook):
    """Return an executed lesson as HTML."""
    shown = [cell for cell in notebook["cells"] if not LEFT_OUT & set(cell["metadata"].get("tags", ()))]
    return "\n".join(markdown(notebooks.source(cell)) if cell["cell_type"] == "markdown" else code(cell)
                     for cell in shown)


def markdown(text):
    """Return Markdown as HTML whose links to other lessons lead to their pages."""
    from nbconvert.filters import markdown2html  # what does not build the site does without it

    return LINK.sub(lambda match: f'href="{page_for(match[1])}"', markdown2html(text))


def page_for(target):
    """Return where a link of a lesson leads on the site: to a lesson's page, or to the file in the repository."""
    if target.endswith(".ipynb") and "/" not in target:
        return target.removesuffix(".ipynb") + ".html"
    path = re.sub(r"^(\.\./)+", "", target)
    return f"{readme.address()}/blob/{readme.BRANCH}/{path}"


def code(cell):
    """Return a code cell: its code folded, then what it showed."""
    from nbconvert.filters import Highlight2HTML

    source = notebooks.source(cell)
    if not source.strip():
        return ""
    is_solution = "solution" in cell["metadata"].get("tags", ()) or "### BEGIN SOLUTION" in source
    summary = "Solution" if is_solution else "Code"
    shown = "".join(output(each) for each in cell.get("outputs", ()))
    return (f'<details class="code"><summary>{summary}</summary>{Highlight2HTML()(source)}</details>'
            f"{f'<div class=output>{shown}</div>' if shown else ''}")


def output(each):
    """Return one output as HTML."""
    from nbconvert.filters import ansi2html

    if each["output_type"] == "stream":
        return f"<pre>{ansi2html(joined(each['text']))}</pre>"
    if each["output_type"] == "error":
        return f"<pre>{ansi2html(joined(each['traceback']))}</pre>"
    data = each["data"]
    if "text/html" in data:                                   # a race plays there, beside its figure
        return f'<div class="scrolled">{joined(data["text/html"])}</div>'
    words = joined(data.get("text/plain", ""))
    for kind in ("png", "jpeg", "webp"):
        if f"image/{kind}" in data:
            about = each["metadata"].get(f"image/{kind}", {})
            return picture(base64.b64decode(joined(data[f"image/{kind}"])), kind, about.get("alt", words),
                           about.get("width"))
    return markdown(joined(data["text/markdown"])) if "text/markdown" in data else f"<pre>{html.escape(words)}</pre>"


def joined(text):
    """Return what a notebook keeps as one text or a list of lines."""
    return text if isinstance(text, str) else "".join(text)


def picture(data, kind, words, width=None):
    """Return a picture that the page holds itself, with words for those who do not see it.

    width    in pixels of the page; None: its own
    """
    size = f' width="{width:.0f}"' if width else ""
    return f'<img src="data:image/{kind};base64,{base64.b64encode(data).decode()}" alt="{html.escape(words)}"{size}>'
