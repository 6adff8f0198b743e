"""The runtime of a page that trains: onnxruntime-web, brought by npm from wherever it is told to, and checked."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from labkit.errors import LabError
from labkit.files.atomic import write_file
from labkit.settings import cache_dir

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
# SHA-512 of the package's file, as npm writes it into lock files.
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
MODULE, WASM = "package/dist/ort.wasm.bundle.min.mjs", "package/dist/ort-wasm-simd-threaded.wasm"


def runtime():
    """Return the runtime's two files as bytes: its JavaScript module and its WebAssembly.

    The package is kept in the cache folder. LabError: npm is missing, could not bring it, or brought another one.
    """
    kept = package_file()
    if not _is_pinned(kept):
        with tempfile.TemporaryDirectory() as folder:
            data = _packed(Path(folder)).read_bytes()
        if _integrity(data) != INTEGRITY:
            raise LabError(f"npm brought another {PACKAGE} {VERSION} than the pinned one: its SHA-512 differs. "
                           "Ask whoever runs your npm registry, or change INTEGRITY in tools/web_runtime.py.")
        write_file(kept, data, choose="LABKIT_CACHE")
    with tarfile.open(kept) as package:
        return package.extractfile(MODULE).read(), package.extractfile(WASM).read()


def package_file():
    """Return where the package is kept."""
    return cache_dir() / "npm" / f"{PACKAGE}-{VERSION}.tgz"


def _is_pinned(file):
    return file.is_file() and _integrity(file.read_bytes()) == INTEGRITY


def _packed(folder):
    """Have npm put the package into a folder; return its file."""
    npm = shutil.which("npm")
    if npm is None:
        raise LabError(f"--trainable needs npm, which brings {PACKAGE}: install Node.js, or leave --trainable out.")
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", "--prefer-offline"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    files = list(folder.glob("*.tgz"))
    if done.returncode or not files:
        why = next((line for line in done.stderr.splitlines()[::-1] if "error" in line), "it gave no reason")
        raise LabError(f"npm could not bring {PACKAGE} {VERSION} ({why.strip()}): see whether `npm ping` works here.")
    return files[0]


def _integrity(data):
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
