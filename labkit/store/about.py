"""The config.json of a run: what was trained, and in which sessions, with a checksum over all of it."""

import hashlib
import json
from pathlib import Path

from labkit.errors import LabError
from labkit.files.regular import read_regular

STORE_VERSION = 1
CHECKSUM = "checksum"


def written(run_id: str, config, sessions: list[dict]) -> bytes:
    """Return the file of a run; sessions: [{"started_s": seconds since 1970, "meta": circumstances}], the first one first."""
    about = {"store_version": STORE_VERSION, "run_id": run_id, "config": config.to_dict(), "sessions": sessions}
    about = json.loads(json.dumps(about))                     # as it will be read
    return json.dumps(about | {CHECKSUM: _checksum(about)}, indent=1, sort_keys=True).encode()


def read(path: Path) -> dict:
    """Return what a file says; LabError when it cannot be read, is not that of a run, is damaged or from a newer version.

    A file without a checksum, of an older version, is read as it is.
    """
    try:
        about = json.loads(read_regular(path))
    except (LabError, ValueError, RecursionError) as error:
        raise LabError(f"{path} cannot be read ({str(error)[:200]}): the run is not in this store, or its folder is damaged.") from None
    if not _is_of_a_run(about):
        raise LabError(f"{path} is not that of a run: {path.parent.parent} is no run store, or its folder is damaged.")
    if about["store_version"] > STORE_VERSION:
        raise LabError(f"{path.parent} was written by a newer labkit (store version {about['store_version']}): update this one.")
    stated = about.pop(CHECKSUM, None)
    if stated is not None and stated != _checksum(about):
        raise LabError(f"{path} is damaged, it does not match its checksum: restore the file, or remove its folder to train the run again.")
    return about


def _is_of_a_run(about) -> bool:
    if not isinstance(about, dict) or type(about.get("store_version")) is not int or not isinstance(about.get("config"), dict):
        return False
    sessions = about.get("sessions")
    return isinstance(sessions, list) and bool(sessions) and all(_is_session(session) for session in sessions)


def _is_session(session) -> bool:
    if not isinstance(session, dict) or not isinstance(session.get("meta"), dict):
        return False
    group = session["meta"].get("group", [])
    return isinstance(group, list) and all(isinstance(name, str) for name in group)


def _checksum(about) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
