"""Execute the lessons in full and write them back clean: generated cells fresh, no widgets, no paths of a machine."""

import sys
import tempfile
from pathlib import Path

from labkit.cli.clean import clean, write
from labkit.cli.execute import device, execute, timeout
from labkit.cli.parser import Outcome
from labkit.cli.tools import load
from labkit.errors import LabError
from labkit.files.atomic import write_file
from labkit.lessons import notebooks
from labkit.settings import REPO, given_path
from labkit.text import counted

readme = load("readme")


def verb(options):
    """Refresh generated cells, and unless --badges was given execute each lesson and write it back.

    With --site nothing but the pages to read on the web is written.
    """
    if options.site is not None:
        if options.names or options.badges:
            raise LabError("--site builds pages of all lessons as they are: give neither names nor --badges with it.")
        return site(options.site, trainable=options.trainable)
    if options.trainable:
        raise LabError("--trainable adds a page to the site: give --site with it.")
    paths = notebooks.choose(options.names)
    if not readme.is_set():
        where = f", as git does: {readme.remote()}" if readme.remote() else ""
        print("labkit: badges and the Colab cell lead nowhere until pyproject.toml names the repository's address"
              f"{where}.", file=sys.stderr)
    lines = []
    for path in paths:
        notebook = refresh(notebooks.read(path), path.stem)
        if not options.badges:
            write(path, notebook)
            notebook = executed(path, timeout())
        write(path, clean(notebook))
        lines.append(f"{path.stem}: {path.stat().st_size / 1000:.0f} kB")
    for page in (REPO / name for name in readme.PAGES):
        write_file(page, readme.filled(page.read_text(encoding="utf-8")).encode(), choose="the checkout")
    return Outcome(0, "\n".join(lines))


def site(folder, *, trainable):
    """Write the chapter as web pages, with one that trains if that is wanted."""
    folder = given_path(folder or REPO / "out" / "site")
    sizes = load("static_site").write_site(folder, trainable=trainable)
    pages = {name: size for name, size in sizes.items() if name.endswith(".html")}
    said = f"{counted(len(pages), 'page')}, {sum(pages.values()) / 1e6:.1f} MB: open {folder / 'index.html'}"
    if trainable:
        fetched = (sum(sizes.values()) - sum(pages.values())) / 1e6
        said += (f"\ntrain.html fetches {fetched:.1f} MB more when it trains, and only from a server: "
                 f"python3 -m http.server --directory {folder}")
    return Outcome(0, said)


def refresh(notebook, name):
    """Fill the generated cells, those tagged badges and setup; LabError if the lesson has not exactly one of each."""
    for tag, text in (("badges", readme.top_cell(name)), ("setup", readme.setup_cell())):
        cells = notebooks.tagged(notebook, tag)
        if len(cells) != 1:
            raise LabError(f"{name}.ipynb has {len(cells)} cells tagged {tag!r}; it must have one.")
        cells[0]["source"] = text.splitlines(keepends=True)
    return notebook


def executed(path, limit):
    """Return the lesson executed in full from an empty store, with its time.

    limit    the most seconds it may take

    LabError if it fails; its file stays as it is.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / path.name
        environment = {"LABKIT_STORE": folder, "LABKIT_FAST": ""}
        seconds, error = execute(path, target, parameters={}, environment=environment, log=Path(folder) / "log",
                                 timeout=limit)
        if error:
            raise LabError(f"{path.name} {error}")
        notebook = notebooks.read(target)
    known = notebooks.seconds(notebooks.read(path))
    notebook["metadata"]["labkit"] = {"seconds": known | {device(): round(seconds)}}
    return notebook
