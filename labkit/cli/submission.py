"""What one student hands in: one zip file of notebooks and records of runs. Nothing in it is ever executed.

    submission.json                     who handed it in, and when
    notebooks/NAME.ipynb                the notebooks in which something was run
    runs/ID/config.json, events.jsonl   the record of each run, without adapters
    runs/ID/samples/NAME.png            its pictures, where there is room for them
"""

import io
import json
import re
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path

from labkit.errors import LabError
from labkit.files import json_text
from labkit.files.atomic import write_file
from labkit.files.regular import read_regular
from labkit.store.recorded import DAMAGED, EPOCH
from labkit.text import printable, shown

VERSION = 1
MOST_ZIPPED, MOST_BYTES, MOST_FILES = 30_000_000, 300_000_000, 5_000
ABOUT = "submission.json"
RECORD = ("config.json", "events.jsonl")
NAME = re.compile(r"submission\.json|notebooks/\w[\w .,+()-]{0,98}\.ipynb|"
                  r"runs/\w{1,64}/(config\.json|events\.jsonl|samples/\w[\w.-]{0,80}\.png)")
LONGEST = 100                                                 # characters of a student's name


@dataclass(frozen=True)
class Submission:
    """Hold what was handed in, unpacked; the student's name is as it was written, markup and all."""

    file: Path
    folder: Path  # with notebooks/ and runs/
    student: str
    made: str

    @property
    def notebooks(self) -> list[Path]:
        """Return the notebooks, in the order of their names."""
        return sorted((self.folder / "notebooks").glob("*.ipynb"))


def safe_name(student: str) -> str:
    """Return a student's name as the name of a file, without slashes, markup and spaces."""
    return re.sub(r"[^\w.-]+", "_", student).strip("._-")[:60] or "student"


def packed(student: str, made: str, notebooks: dict[str, bytes], runs: list[Path]) -> tuple[bytes, bool]:
    """Return the bytes of the zip file, and whether the runs' pictures are in it, for which there may be no room.

    notebooks    {name: bytes}
    runs         folders of runs

    LabError: more than a submission may hold.
    """
    about = {"submission_version": VERSION, "student": student, "made": made}
    members = {ABOUT: json.dumps(about, indent=1).encode()}
    members |= {f"notebooks/{name}": data for name, data in notebooks.items()}
    members |= {f"runs/{run.name}/{name}": read_regular(run / name) for run in runs for name in RECORD}
    if odd := next((name for name in members if not NAME.fullmatch(name)), None):
        raise LabError(f"{printable(Path(odd).name)} cannot be handed in under this name: give it one of letters, "
                       "digits, spaces and hyphens.")
    pictures = {f"runs/{run.name}/samples/{path.name}": path for run in runs for path in run.glob("samples/*.png")}
    pictures = {name: path for name, path in pictures.items() if NAME.fullmatch(name)}
    if sum(path.stat().st_size for path in pictures.values()) < MOST_ZIPPED:
        whole = members | {name: read_regular(path) for name, path in sorted(pictures.items())}
        data = _zipped(whole)
        if _fits(data, whole):
            return data, True
    data = _zipped(members)
    if not _fits(data, members):
        raise LabError(f"The submission would have {len(members):,} files and {len(data) / 1e6:.0f} MB, and at most "
                       f"{MOST_FILES:,} and {MOST_ZIPPED / 1e6:.0f} MB are taken: give a store that holds the runs "
                       "of this course alone (--store).")
    return data, not pictures


def _zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name, EPOCH), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _fits(data: bytes, members: dict[str, bytes]) -> bool:
    size = sum(map(len, members.values()))
    return len(data) <= MOST_ZIPPED and size <= MOST_BYTES and len(members) <= MOST_FILES


def unpacked(file: Path, folder: Path) -> Submission:
    """Unpack a submission into a new folder and return it.

    LabError, before a byte of it is written: no zip file, damaged, too large, or with members that no submission has:
    links, paths that lead out of it, pickles, programs.
    """
    try:
        if file.stat().st_size > MOST_ZIPPED:
            raise ValueError(f"it has more than {MOST_ZIPPED / 1e6:.0f} MB")
        with zipfile.ZipFile(io.BytesIO(read_regular(file))) as opened:
            members = _checked(opened)
            about = json_text.parse(opened.read(ABOUT))
            if not isinstance(about.get("submission_version"), int):
                raise ValueError("its submission.json is not that of a submission")
            if about["submission_version"] > VERSION:
                raise ValueError("it was made by a newer labkit: update this one")
            student, made = _text(about, "student"), _text(about, "made")
            for member in members:
                write_file(folder / member.filename, opened.read(member), durable=False)
    except OSError as error:
        raise LabError(f"{file.name} cannot be read ({error.strerror or error}).") from None
    except DAMAGED as error:
        is_cut = isinstance(error, zipfile.BadZipFile)
        fault = "it is no whole zip file" if is_cut else printable(str(error) or type(error).__name__)[:200]
        raise LabError(f"{printable(file.name)} is left out, {fault}: ask for a file made by `labkit submit`."
                       ) from None
    return Submission(file, folder, student, made)


def is_submission(file: Path) -> bool:
    """Tell whether a file is a submission, whose place a newer one may take."""
    try:
        with zipfile.ZipFile(file) as opened:
            return ABOUT in opened.namelist()
    except (OSError, *DAMAGED):
        return False


def _checked(opened: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the files of a zip file; ValueError says in a few words what no submission holds.

    zipfile never unpacks more of a file than its stated size.
    """
    members = [member for member in opened.infolist() if not member.is_dir()]
    if len(opened.infolist()) > 2 * MOST_FILES or sum(member.file_size for member in members) > MOST_BYTES:
        raise ValueError(f"it would unpack to {len(members):,} files of "
                         f"{sum(member.file_size for member in members) / 1e6:,.0f} MB")
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise ValueError(f"it holds {shown(member.filename)}, which is a link or a device")
        if not NAME.fullmatch(member.filename):
            raise ValueError(f"it holds {shown(member.filename)}, where only notebooks and records of runs belong")
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        raise ValueError("it holds two files of one name")
    if ABOUT not in names:
        raise ValueError(f"it holds no {ABOUT}")
    return members


def _text(about: dict, name: str) -> str:
    text = about.get(name)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"its {ABOUT} does not say {name}")
    return printable(text.strip())[:LONGEST]
