"""Content hashes of files, remembered for as long as the system says that a file is the same."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from labkit.errors import LabError
from labkit.files import json_text
from labkit.files.atomic import write_file
from labkit.settings import cache_dir

MOST_BYTES = 500_000_000                                      # of a memo: small pictures of a hundred thousand files


def sha256(path: Path) -> str:
    """Hash one file's bytes; text files hash alike whatever line ends a checkout gave them."""
    digest = hashlib.sha256()
    if path.suffix in (".json", ".jsonl", ".txt", ".csv"):
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    else:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def sha256_of_texts(texts: Iterable[object]) -> str:
    """Hash a sequence of strings so that no two different sequences run together."""
    digest = hashlib.sha256()
    for text in texts:
        data = str(text).encode("utf-8", "surrogatepass")     # a path may hold bytes that are no UTF-8
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def identity(path: Path) -> list[int]:
    """Return what changes when a file does: its size, its times and its inode.

    A program may set back the first time, but not the second.
    """
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


class Memo:
    """Remember `compute(path)` on disk for files that have not changed.

    `with Memo("sha256", sha256) as memo: memo(path)`. Two processes may write at once: the last one wins, and a lost
    entry is only computed again. Whatever cannot be read or written is treated as absent, since nothing depends on it.
    """

    def __init__(self, kind: str, compute: Callable[[Path], Any]) -> None:
        """Remember values of one kind, which names the file; what `compute` returns must survive JSON."""
        self.kind, self.compute = kind, compute
        self.known: dict[str, Any] = {}
        self.changed = False

    def __enter__(self) -> "Memo":
        """Read the values that are remembered."""
        self.file = cache_dir() / f"memo-{self.kind}-2.json"  # 2: older code reads entries of the first form otherwise
        try:
            self.known = json_text.read(self.file, most_bytes=MOST_BYTES)
        except (OSError, ValueError):
            self.known = {}
        self.changed = False
        return self

    def __call__(self, path: Path) -> Any:
        """Return the value of a file, computed only where it is not known."""
        current = identity(path)
        key = str(path.resolve())
        entry = self.known.get(key)
        if isinstance(entry, list) and len(entry) == 6:
            *identified, value, seal = entry
            if identified == current and seal == self._seal(key, value):
                return value
        value = self.compute(path)
        self.known[key] = [*current, value, self._seal(key, value)]
        self.changed = True
        return value

    def _seal(self, key: str, value: Any) -> str:
        """Return a short checksum of an entry, so that what a damaged or edited file says is computed again."""
        return sha256_of_texts([self.kind, key, json.dumps(value)])[:16]

    def __exit__(self, *error: object) -> None:
        """Write the values, where there are new ones."""
        if not self.changed:
            return
        try:
            write_file(self.file, json.dumps(self.known).encode())
        except LabError:                                      # a full disk costs only the time to compute again
            pass
