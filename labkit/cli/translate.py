"""The verb that translates settings of other trainers, both ways, and says what does not come along."""

from labkit.cli.parser import Outcome
from labkit.cli.translate_pictures import pass_of
from labkit.cli.translate_start import with_sizes
from labkit.design.config import is_share_string, load_design
from labkit.design.trainers.files import nested, open_settings, written
from labkit.design.trainers.known import MODEL_TYPES, TRAINERS, recognized, trainer
from labkit.design.trainers.reading import plain
from labkit.design.trainers.table import forms
from labkit.design.trainers.translate import KINDS, settings_of, translate
from labkit.errors import LabError
from labkit.files.atomic import write_file
from labkit.files.regular import read_regular
from labkit.settings import given_path


def verb(options):
    """Print the translated settings and what there is to say of them; exit code 0 also where something is lost."""
    source, target, translation, text = translated(options.settings, options.from_, options.to, options.pictures)
    lines = [f"{source.title} -> {target.title}", *told(translation.notes)]
    if options.out:
        path = given_path(options.out)
        if path.is_dir() or path.exists() and read_regular(path) != text.encode():
            raise LabError(f"{path} is there already and holds something else: move it away, or give another name "
                           "with --out.")
        write_file(path, text.encode(), choose="--out")
        lines.insert(1, f"{path} is written.")
    else:
        lines.insert(1, "\n" + text)
    account = {"from": source.name, "to": target.name, "settings": nested(translation.settings), "text": text,
               "notes": noted(translation.notes)}
    return Outcome(0, "\n".join(lines), account)


def translated(given, from_=None, to=None, pictures=None):
    """Return the trainer that settings are of, the one that they are for, the translation, and the text to write.

    given              as `opened` takes them
    from_, to          names of trainers; to: a design where nothing is said
    pictures           as `pass_of` takes them
    """
    source, settings = opened(given, from_)
    target = trainer(to or ("labkit" if source.name != "labkit" else ""))
    settings, sizes = with_sizes(source, settings, given)
    translation = translate(source, settings, target, pass_of(source, settings, given, pictures))
    if sizes:
        translation.notes.tell("other", "dim_from_weights", sizes)
    return source, target, translation, written(target, translation.settings,
                                                origins(source, settings, translation.names))


def opened(text, name=None):
    """Return the trainer that settings are of and the settings; name: of the trainer, where a person says it."""
    given = open_settings(text)
    if name:
        source = trainer(name)
    else:
        source = TRAINERS["labkit"] if is_share_string(text) else recognized(given.settings, given.script)
    if source.name == "labkit":                               # read and checked as every verb reads a design
        return source, settings_of(load_design(text))
    if given.script in MODEL_TYPES:
        return source, {"model_type": MODEL_TYPES[given.script]} | given.settings
    return source, given.settings


def origins(source, settings, names):
    """Return a sentence for each part of a run that says where it comes from.

    names    the trainer's own name of each part
    """
    given = {form for name, value in settings.items() if plain(value) is not None for form in forms(name)}
    return {ours: f"{theirs} in the settings of {source.name}" if theirs in given else
            f"follows from the settings of {source.name}, where {theirs} is not given"
            for ours, theirs in names.items()}


def noted(notes):
    """Return what is told of a translation in a form for scripts, by its kinds."""
    return {kind: [{"name": note.name, "text": note.text} for note in notes if note.kind == kind] for kind in KINDS}


def told(notes):
    """Return the lines that tell of a translation, by their kinds."""
    lines = []
    for kind, title in KINDS.items():
        own = [note for note in notes if note.kind == kind]
        if own:
            lines += ["", f"{title[0].upper()}{title[1:]}:"]
            lines += [f"  {note.name}: {note.text}" if note.text else f"  {note.name}" for note in own]
    return lines
