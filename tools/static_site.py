"""Build the chapter as web pages to read without installing anything: `python3 -m labkit publish --site [FOLDER]`.

The lessons are shown as they were executed last; nothing is executed here. Every page is whole in itself, so that it
opens from a disk as well as from a server, and asks the network for nothing.
"""

import html
import re
from pathlib import Path

from labkit.cli.tools import load
from labkit.design.glossary import glossary_table
from labkit.errors import LabError
from labkit.files.atomic import write_file
from labkit.lessons import notebooks
from labkit.settings import REPO
from labkit.store.recorded import recorded_or_none

TITLE = "Parameter Design Lab"
RACE = "race"                                                 # the recorded set that the first page plays
MOST_BYTES = 15_000_000                                       # of all pages together
STYLE = Path(__file__).with_suffix(".css")
# What --trainable adds, by name: a later build without it takes these away again.
TRAINING = {"train.html", "train-worker.js", "train-runtime.js", *(
    f"train-{name}.gz" for name in ("runtime", "weights", "update", "prediction", "picture", "numbers"))}
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head><body>
<a class="skip" href="#main">To the text</a>
<nav aria-label="Pages">{links}</nav>
<main id="main">
{body}
</main>
{below}</body></html>
"""

cells, readme = load("site_cells"), load("readme")


def write_site(folder, *, trainable=False):
    """Write all pages into a folder, over those of an earlier build; return {file name: size in bytes}.

    trainable    with a page that trains in the browser, and the files that it fetches
    LabError: the folder holds something else, cannot be written, the pages would be larger than MOST_BYTES, or what
    the page that trains needs cannot be had.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise LabError(f"{folder} is a file: give a folder for the site.")
    training, beside = load("training_page").built() if trainable else (None, {})
    written = pages(training)
    total = sum(map(len, written.values()))
    if total > MOST_BYTES:
        raise LabError(f"The site would be {total / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:g}: "
                       "draw fewer or smaller pictures in the lessons.")
    written |= beside
    known = {*written, *TRAINING}
    strangers = sorted(path.name for path in folder.glob("*") if path.name not in known) if folder.is_dir() else []
    if strangers:
        raise LabError(f"{folder} holds other files, such as {strangers[0]}: "
                       "give an empty folder, or an earlier site.")
    for name in TRAINING - set(written):                      # of an earlier build
        (folder / name).unlink(missing_ok=True)
    for name, data in written.items():
        write_file(folder / name, data, choose="--site")
    return {name: len(data) for name, data in written.items()}


def pages(training=None):
    """Return {file name: bytes} of all pages; training: the body of the page that trains, where there is one."""
    lessons = {path.stem: cells.lesson(notebooks.read(path)) for path in notebooks.lessons()}
    bodies = {"index": front(is_trainable=training is not None), **({"train": training} if training else {}),
              **lessons, "glossary": f"<h1>Two vocabularies</h1>{GLOSSARY}{cells.markdown(glossary_table())}"}
    for page in sorted((REPO / "docs").glob("teaching.md")):
        bodies[page.stem] = cells.markdown(page.read_text(encoding="utf-8"))
    titles = {name: title(name, body) for name, body in bodies.items()}
    return {f"{name}.html": page_of(name, body, titles).encode() for name, body in bodies.items()}


GLOSSARY = ("<p>The book chapter that the lessons follow has words of its own for what the field calls otherwise. "
            "Where the chapter has none, its column is empty.</p>")


def style():
    """Return the style of all pages, with the colours of highlighted code in the light and in the dark theme."""
    from pygments.formatters import HtmlFormatter  # comes with nbconvert

    light, dark = (HtmlFormatter(style=name).get_style_defs(".highlight") for name in ("friendly", "monokai"))
    return f"{STYLE.read_text(encoding='utf-8')}{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}"


def title(name, body):
    """Return a page's own first heading as plain text."""
    found = re.search(r"<h1[^>]*>(.*?)</h1>", body, re.DOTALL)
    return html.unescape(re.sub(r"<a .*?</a>|<[^>]+>", "", found[1])).strip() if found else name


def page_of(name, body, titles):
    """Return one page with links to the others."""
    links = "".join(f'<a href="{other}.html"{" aria-current=page" if other == name else ""}>'
                    f"{html.escape(SHORT.get(other) or short(other))}</a>" for other in titles)
    whole = titles[name] if name == "index" else f"{titles[name]} · {TITLE}"
    return PAGE.format(title=html.escape(whole), style=style(), links=links, body=body, below=neighbours(name, titles))


SHORT = {"index": "Start", "train": "Train here", "glossary": "Glossary", "teaching": "For teachers"}


def short(name):
    """Return a lesson's name as a link: "01 Learning rate"."""
    number, _, words = name.partition("_")
    return f"{number} {words.replace('_', ' ').capitalize()}"


def neighbours(name, titles):
    """Return the links to the lessons before and after this one."""
    names = [other for other in titles if re.match(r"\d\d_", other)]
    if name not in names:
        return ""
    at = names.index(name)
    ends = [("Before", names[at - 1]) if at else None, ("Next", names[at + 1]) if at + 1 < len(names) else None]
    links = "".join(f'<a href="{end[1]}.html">{end[0]}: {html.escape(short(end[1]))}</a>' for end in ends if end)
    return f'<footer><nav aria-label="Lessons before and after">{links}</nav></footer>'


def front(*, is_trainable=False):
    """Return the first page: what the lab is, the lessons, and a race to play with, else README's pictures.

    is_trainable    there is a page that trains, to which this one leads
    """
    rows = "".join(f'<li><a href="{path.stem}.html">{html.escape(short(path.stem))}</a>'
                   f"<span>{html.escape(notebooks.QUESTIONS[path.stem])}</span></li>" for path in notebooks.lessons())
    text = (REPO / "README.md").read_text(encoding="utf-8")
    said = text.partition("\n\n")[2].partition("\n\n")[0]     # the first paragraph
    pictures = "".join(figure(REPO / path, alt) for alt, path in re.findall(r"^!\[(.*?)\]\((\S+?)\)$", text, re.M))
    home = ("These pages show the lessons as they were executed last. To move the knobs yourself, take the lab home: "
            f"{repository()}.")
    if is_trainable:
        home = f'To train a run of your own at once, in this browser: <a href="train.html">train here</a>. {home}'
    return (f'<h1>{TITLE}</h1>{cells.markdown(said)}<p>{home}</p><ol class="lessons" start="0">{rows}</ol>'
            f"{race() or pictures}")


def race():
    """Return the recorded race, to be played and scrubbed; nothing where the set does not ship."""
    from labkit.view.race_view import RaceView  # draws, which loads matplotlib

    return RaceView.replay(RACE).page() if recorded_or_none(RACE) else ""


def repository():
    """Return a link to the repository, or what to run in a checkout whose address is not set."""
    run = "<code>python3 -m labkit lab</code> in a checkout"
    address = readme.address() if readme.is_set() else None
    return f'{run} of <a href="{html.escape(address)}">the repository</a>' if address else run


def figure(path, alt):
    """Return a picture of the repository, embedded."""
    return f"<figure>{cells.picture(path.read_bytes(), path.suffix[1:], alt)}</figure>"
