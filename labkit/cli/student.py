"""Write copies of the lessons for students: the same notebook without its solutions, outputs and asserts.

For nbgrader and otter, which take the solutions out themselves, the copies are what these programs begin with.
"""

import re

from labkit.cli import forms, graded
from labkit.cli.clean import write
from labkit.cli.parser import Outcome
from labkit.errors import LabError
from labkit.files.atomic import write_file
from labkit.lessons import notebooks
from labkit.settings import given_path

FORMS = {  # form: (what makes it, where a lesson's copy lies in the folder)
    "plain": (forms.for_student, "{name}.ipynb"),
    "nbgrader": (graded.for_nbgrader, "source/{name}/{name}.ipynb"),
    "otter": (graded.for_otter, "{name}.ipynb"),
}
STUDENT = re.compile(r"^student *= *(''|\"\")", re.MULTILINE)


def verb(options):
    """Write a student's copy of each lesson; nothing is written over."""
    folder, name = given_path(options.to), options.student
    paths = notebooks.choose([] if "all" in options.names else options.names)
    if name is not None and not (name.strip() and name.isprintable()):
        raise LabError(f"--student {name!r} is not a name.")
    form, place = FORMS[options.form]
    copies = {folder / place.format(name=path.stem): form(notebooks.read(path), path.stem) for path in paths}
    # Every copy is signed, hence a list: `any` of a generator would stop at the first.
    if name and not any([sign(notebook, name.strip()) for notebook in copies.values()]):
        lessons = ", ".join(path.stem for path in paths)
        raise LabError(f"{lessons}: there is no parameter `student` to write a name into; leave --student out.")
    for target in copies:
        if target.exists():
            raise LabError(f"{target} is there already, perhaps with somebody's work in it: move it away, "
                           "or give another folder with --to.")
    for target, notebook in copies.items():
        write(target, notebook, choose="--to")
    config = folder / "nbgrader_config.py"
    if options.form == "nbgrader" and not config.exists():
        write_file(config, graded.COURSE.encode(), choose="--to")
    return Outcome(0, "\n".join(map(str, copies)), [str(target) for target in copies])


def sign(notebook, student) -> bool:
    """Write a student's name into the parameters; tell whether there is one for it."""
    signed = False
    for cell in notebooks.tagged(notebook, "parameters"):
        source, count = STUDENT.subn(lambda _: f"student = {student!r}", notebooks.source(cell), count=1)
        cell["source"], signed = source.splitlines(keepends=True), signed or bool(count)
    return signed
