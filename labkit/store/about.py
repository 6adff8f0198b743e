"""The config.json of a run: what was trained, and in which sessions, with a checksum over all of it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from labkit.design.config import RunConfig
from labkit.errors import LabError
from labkit.files.regular import read_regular

STORE_VERSION = 1
CHECKSUM = "checksum"


def encode(run_id: str, config: RunConfig, sessions: Sequence[Mapping]) -> bytes:
    """Return the bytes of the file.

    sessions    [{"started_s": seconds since 1970, "meta": circumstances}], the first one first
    """
    values = {"store_version": STORE_VERSION, "run_id": run_id, "config": config.to_dict(), "sessions": sessions}
    values = json.loads(json.dumps(values))                   # as it will be read
    return json.dumps(values | {CHECKSUM: _checksum(values)}, indent=1, sort_keys=True).encode()


def read(path: Path) -> dict:
    """Return what a file says, without its checksum.

    LabError: it cannot be read, is not that of a run, is damaged or from a newer version. A file without a checksum,
    of an older version, is read as it is.
    """
    try:
        values = json.loads(read_regular(path))
    except (LabError, ValueError, RecursionError) as error:
        raise LabError(f"{path} cannot be read ({str(error)[:200]}): the run is not in this store, or its folder is "
                       "damaged.") from None
    if not _is_of_a_run(values):
        raise LabError(f"{path} is not that of a run: {path.parent.parent} is no run store, or its folder is damaged.")
    if (version := values["store_version"]) > STORE_VERSION:
        raise LabError(f"{path.parent} was written by a newer labkit (store version {version}): update this one.")
    stated = values.pop(CHECKSUM, None)
    if stated is not None and stated != _checksum(values):
        raise LabError(f"{path} is damaged, it does not match its checksum: restore the file, or remove its folder to "
                       "train the run again.")
    return values


def _is_of_a_run(values: object) -> bool:
    if not isinstance(values, dict) or type(values.get("store_version")) is not int:
        return False
    sessions = values.get("sessions")
    return (isinstance(values.get("config"), dict) and isinstance(sessions, list) and bool(sessions)
            and all(_is_session(session) for session in sessions))


def _is_session(session: object) -> bool:
    if not isinstance(session, dict) or not isinstance(session.get("meta"), dict):
        return False
    group = session["meta"].get("group", [])
    return isinstance(group, list) and all(isinstance(name, str) for name in group)


def _checksum(values: dict) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
