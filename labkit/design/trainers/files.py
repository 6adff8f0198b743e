"""Read a trainer's settings from a file or a command line, and write them in the form that the trainer reads.

All forms become names with dots for what is nested and numbers for what is listed, so that a table needs one kind of
name: `train.optimizer_params.betas.0`. Texts of pairs, as in `optimizer_args = ["betas=0.9,0.99"]`, are taken apart.
"""

import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from labkit.design.config import RunConfig, is_share_string, load_design
from labkit.design.design_file import design_text
from labkit.design.trainers.passes import crops
from labkit.design.trainers.reading import plain
from labkit.design.trainers.table import Settings, Trainer
from labkit.errors import LabError
from labkit.files import json_text
from labkit.files.regular import read_regular
from labkit.settings import given_path
from labkit.text import shown

MOST_BYTES = 1_000_000
PAIRS = ("optimizer_args", "network_args", "lr_scheduler_args", "optimizer_config")   # texts of name=value
OPTIONS = "additional_parameters"                             # more options of a command line, in one text
PAIR = re.compile(r"([A-Za-z_]\w*)\s*=\s*((?:\([^)]*\)|\[[^]]*\]|\S)+)")
VARIABLE = re.compile(r"^\s*(?:export|set)?\s*([A-Za-z_]\w*)=(\"[^\"\n]*\"|'[^'\n]*'|\S*)\s*(?:#.*)?$", re.M)
OPTION, SCRIPT = re.compile(r"(?:^|\s)--\w"), re.compile(r"\.py\b")
TRAINS = re.compile(r"train\w*\.py\b")
COMMENT = re.compile(r"\s*(#|rem\b|::)", re.I)                # of a shell, and of a batch file
WINDOWS_PATH = re.compile(r"(?:^|[\s=\"'])(?:[A-Za-z]:|\.{1,2}|\\)\\|\w\\\w")
FORMS = "a TOML, JSON or YAML file, or a command line"


class Given(NamedTuple):
    """Hold settings as they were given: with dots, and the script that a command line names."""

    settings: Settings
    script: str = ""


def open_settings(given: str) -> Given:
    """Return the settings of a file, or of a command line given as such; LabError where it cannot be read."""
    if is_share_string(given):
        return Given(load_design(given).to_dict())
    if re.search(r"(^|\s)--[A-Za-z]", given) and not os.path.exists(given):
        return _beside(command_line(given), Path("a command line"))    # what it names lies in the folder of today
    path = given_path(given)
    data = read_regular(path)
    if len(data) > MOST_BYTES:
        raise LabError(f"{path} has more than {MOST_BYTES / 1e6:.0f} MB: give {FORMS}.")
    try:
        text = data.decode("utf-8-sig")
        if path.suffix.lower() not in (".toml", ".json", ".yaml", ".yml"):
            return _beside(command_line(text), path)
        values = _parsed(text, path.suffix.lower())
    except LabError:
        raise
    except Exception as error:  # each reader has errors of its own
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise LabError(f"{path} cannot be read as {path.suffix[1:].upper()}: {problem}. Give {FORMS}.") from None
    if not isinstance(values, dict) or not values:
        raise LabError(f"{path} holds no settings, which are names with values: give {FORMS}.")
    return _beside(Given(flat(values)), path)


def _parsed(text: str, suffix: str) -> Any:
    if suffix == ".toml":
        return _without_headings(tomllib.loads(text))
    if suffix == ".json":
        values = json_text.parse(text, dict)
        is_saved = "_metadata" in values and isinstance(values.get("config"), dict)   # by SimpleTuner's server
        return values["config"] if is_saved else values
    from labkit.files import yaml_text  # imports yaml, which other forms need not

    return yaml_text.parse(text)


def _without_headings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return TOML as sd-scripts reads it: what stands under a heading counts as if there were none.

    A table that is itself an option, such as network_args, is kept.
    """
    settings: dict[str, Any] = {}
    for name, value in values.items():
        is_option = name in PAIRS and isinstance(value, dict) and not any(isinstance(each, dict)
                                                                          for each in value.values())
        settings |= _without_headings(value) if isinstance(value, dict) and not is_option else {name: value}
    return settings


def flat(values: Mapping[str, Any], before: str = "") -> Settings:
    """Return nested values under one name each, texts of pairs taken apart."""
    settings: Settings = {}
    for key, value in values.items():
        name = f"{before}{key}"
        if str(key).lstrip("-") in PAIRS:
            settings |= {f"{name}.{part}": each for part, each in pairs(value).items()}
        elif isinstance(value, dict):
            settings |= flat(value, name + ".")
        elif isinstance(value, list) and (value and isinstance(value[0], dict) or str(key) == "betas"):
            settings |= flat({str(index): each for index, each in enumerate(value)}, name + ".")
        else:
            settings[name] = value
    return settings


def pairs(value: Any) -> Settings:
    """Take texts such as "betas=0.9,0.99 weight_decay=0.01" apart; a pair of betas becomes betas.0 and betas.1."""
    if isinstance(value, dict):
        return flat(value)
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value or "")
    settings: Settings = {}
    for name, written in PAIR.findall(re.sub("[\"']", " ", text)):
        if name != "betas":
            first, *more = written.split(",")
            settings[name] = plain(first)
            for each in more:                                 # SimpleTuner puts commas between pairs
                option, _, rest = each.partition("=")
                settings |= {option.strip(): plain(rest)} if rest else {}
        else:
            numbers = re.findall(r"[\d.eE+-]+", written)
            settings |= {f"betas.{index}": plain(number) for index, number in enumerate(numbers)}
    return settings


def command_line(text: str) -> Given:
    """Read the options of a command line, variables and line ends of a shell script included.

    What stands before the script belongs to `accelerate launch`: of that, mixed_precision and num_processes count.
    """
    text = re.sub(r"[\\^`]\s*\r?\n", " ", text)
    variables = {name: value.strip("\"'") for name, value in VARIABLE.findall(text)}
    text = re.sub(r"\$\{?([A-Za-z_]\w*)\}?", lambda match: variables.get(match[1], match[0]), text)
    lines = [each for each in text.split("\n") if OPTION.search(each) and not COMMENT.match(each)]
    # of several commands the one that trains: by its script's name, else by how many options it has
    line = max(lines, key=lambda each: (bool(TRAINS.search(each)), bool(SCRIPT.search(each)),
                                        len(OPTION.findall(each))), default="")
    try:
        tokens = list(_words(line))
    except ValueError as error:
        raise LabError(f"The command line {shown(line)} cannot be read ({error}): close its quotation marks."
                       ) from None
    settings: Settings = {}
    launch: Settings = {}
    script, name = "", ""
    here = launch if any(token.endswith(".py") for token in tokens) else settings
    for token in tokens:
        if here is launch and token.endswith(".py"):
            script, here, name = Path(token).name, settings, ""
        elif token.startswith("--"):
            name, equals, value = token[2:].partition("=")
            here[name] = plain(value) if equals else True
        elif name:
            known = here[name]
            here[name] = plain(token) if known is True else [*(known if isinstance(known, list) else [known]),
                                                             plain(token)]
    if not settings:
        raise LabError(f"{shown(text.strip()[:80])} has no options such as --learning_rate=1e-4: give {FORMS}.")
    known = {name: launch[name] for name in ("mixed_precision", "num_processes") if name in launch}
    return Given(known | flat(settings), script)


def _words(line: str) -> Iterator[str]:
    """Split a line into words as a shell does; where it has Windows paths, a backslash escapes nothing."""
    words = shlex.shlex(_without_comment(line), posix=True)
    words.whitespace_split, words.commenters = True, ""       # shlex takes # for a comment within a word, too
    if WINDOWS_PATH.search(line):
        words.escape = ""
    return iter(words)


def _without_comment(line: str) -> str:
    quote = ""
    for i, letter in enumerate(line):
        if letter == quote:
            quote = ""
        elif not quote and letter in "\"'":
            quote = letter
        elif not quote and letter == "#" and (i == 0 or line[i - 1].isspace()):
            return line[:i]
    return line


def _beside(source: Given, path: Path) -> Given:
    """Add what lies beside: kohya's config_file and dataset_config, SimpleTuner's crops, kohya_ss's more options."""
    settings = _with_more_options(crops(source.settings, path.parent) | source.settings)
    for name in ("config_file", "dataset_config"):
        setting = next((key for key in settings if key.rsplit(".", 1)[-1] == name), "")
        file = str(settings.get(setting) or "")
        other = path.parent / (file if file.endswith((".toml", ".json")) else file + ".toml")
        if file and other.is_file() and other != path:
            values = _settings_in(other)
            more = flat(_without_headings(values)) if name == "config_file" else _data_set(flat(values))
            settings = more | {key: value for key, value in settings.items() if key != setting}
    return source._replace(settings=settings)


def _with_more_options(settings: Settings) -> Settings:
    """Add the command-line options of sd-scripts that kohya_ss keeps in one text; they count before all else."""
    text = str(settings.get(OPTIONS) or "")
    if not OPTION.search(text):
        return settings
    return {name: value for name, value in settings.items() if name != OPTIONS} | command_line(text).settings


def _settings_in(path: Path) -> dict[str, Any]:
    form = path.suffix[1:].upper()
    try:
        text = read_regular(path).decode("utf-8-sig")
        return json_text.parse(text, dict) if form == "JSON" else tomllib.loads(text)
    except ValueError as error:
        raise LabError(f"{path}, which the settings name, cannot be read as {form}: {error}.") from None


def _data_set(more: Settings) -> Settings:
    """Return kohya's description of pictures under the names that its options have.

    These are of the first of several folders; place, repeats and kind of the others keep their names with dots.
    """
    renamed = {"batch_size": "train_batch_size", "image_dir": "train_data_dir", "num_repeats": "dataset_repeats"}
    parts = ("general.", "datasets.0.", "datasets.0.subsets.0.")
    options = {name.removeprefix(part): value for part in parts for name, value in more.items()
               if name.startswith(part) and "." not in name.removeprefix(part)}
    if "image_dir" in options:                                # its name does not say repeats, as train_data_dir's do
        options.setdefault("num_repeats", 1)
    others = {name: value for name, value in more.items() if ".subsets." in name and not name.startswith(parts[2])
              and name.rpartition(".")[2] in ("image_dir", "num_repeats", "is_reg")}
    return {renamed.get(name, name): value for name, value in options.items()} | others


def nested(settings: Mapping[str, Any]) -> Any:
    """Return settings nested again at their dots; what is numbered from 0 becomes a list."""
    tree: dict[str, Any] = {}
    for name, value in settings.items():
        *path, last = name.split(".")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value

    def listed(node: Any) -> Any:
        if not isinstance(node, dict):
            return node
        children = {key: listed(value) for key, value in node.items()}
        is_list = bool(children) and list(children) == [str(index) for index in range(len(children))]
        return list(children.values()) if is_list else children

    return listed(tree)


def _paired(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with pairs together again, each as its own text: {"optimizer_args": ["betas=0.9,0.999"]}."""
    tree = nested(settings)
    for name, value in tree.items():
        if name.lstrip("-") in PAIRS and isinstance(value, dict):
            tree[name] = [f"{key}={','.join(map(str, each)) if isinstance(each, list) else each}"
                          for key, each in value.items()]
    return tree


def written(trainer: Trainer, settings: Settings, origins: Mapping[str, str] | None = None) -> str:
    """Return the text of a file, or the command line, from which the trainer reads these settings.

    origins: a sentence for each field of a design that says where it comes from.
    """
    if trainer.form == "design":
        config = RunConfig.from_dict(settings)
        usual = RunConfig().to_dict()
        changed = [name for name, value in config.to_dict().items() if value != usual[name] and value is not None]
        reasons = {name: origins[name] for name in changed if origins and name in origins}
        return design_text(config, reasons).rstrip("\n") + "\n"
    if trainer.form == "command":
        return _command(trainer, settings)
    tree = _paired(settings)
    if trainer.form == "toml":
        return "".join(f"{name} = {_toml(value)}\n" for name, value in tree.items())
    if trainer.form == "json":
        joint = "," if trainer.name == "simpletuner" else " "
        tree = {name: joint.join(value) if name.lstrip("-") in PAIRS else value for name, value in tree.items()}
        return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"
    import yaml  # deferred: other forms need none

    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def _toml(value: Any) -> str:
    """Write a value as TOML: JSON's texts, truths and lists are TOML's too."""
    return json.dumps(value, ensure_ascii=False)


def _command(trainer: Trainer, settings: Settings) -> str:
    parts = [trainer.script]
    for name, value in settings.items():
        if value is False:
            continue
        parts.append(f"--{name}" if value is True else f"--{name}={shlex.quote(str(value))}")
    return " \\\n  ".join(parts) + "\n"
