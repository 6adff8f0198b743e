"""Run seeded cases of one format in a process of their own, each held to a time and a size; print what came of them.

`python tests/slow/damaged_inputs.py FORMAT CASES FOLDER` prints JSON: FOLDER is empty and its own.
"""

import importlib
import json
import os
import re
import resource
import signal
import sys
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support"), str(Path(__file__).parents[2])]

from mutations import draw_for  # noqa: E402  the paths above come first

from labkit.errors import LabError  # noqa: E402

FORMATS = {  # format: the module that makes its cases
    "design_yaml": "damaged_designs", "design_json": "damaged_designs", "share": "damaged_designs",
    "adapters": "damaged_weights", "base_weights": "damaged_weights", "base_configs": "damaged_weights",
    "encoded": "damaged_weights",
    "captions": "damaged_folders", "pictures": "damaged_folders", "memos": "damaged_folders",
    "recorded": "damaged_folders", "notebook_files": "damaged_folders",
    "settings": "damaged_settings",
}
SEED = 0
CPU_S, WAITING_S = 10, 600                                    # of a case, at most; a busy machine may let it wait
MEGABYTES, OF_PICTURES = 300, 900                           # of a case, at most; a picture may have 89 million pixels
MOST_CHARACTERS = 2_000                                       # of a sentence; paths in it may be long
CONTROL = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")


class TooLong(BaseException):
    """Ends a case that took too long; no `except Exception` keeps it."""


def too_long(*_):
    raise TooLong


def outcome(case, draw, megabytes) -> str:
    """Return "works", "refused" or what was wrong."""
    hold_memory(megabytes)
    signal.setitimer(signal.ITIMER_PROF, CPU_S), signal.setitimer(signal.ITIMER_REAL, WAITING_S)
    try:
        case(draw)
        return "works"
    except LabError as error:
        sentence = str(error)
        is_clean = 10 < len(sentence) <= MOST_CHARACTERS and not CONTROL.search(sentence)
        return "refused" if is_clean else f"no clean sentence: {sentence[:80]!a} ({len(sentence)} characters)"
    except SystemExit as error:
        return "refused" if error.code == 2 else f"SystemExit {error.code}"
    except BaseException as error:
        place = error.__traceback__
        while place.tb_next:
            place = place.tb_next
        file = Path(place.tb_frame.f_code.co_filename).name
        return f"{type(error).__name__}: {str(error)[:80]!a} at {file}:{place.tb_lineno}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0), signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def hold_memory(megabytes):
    """Let this process take so many megabytes more than it has.

    Only Linux tells what it has and counts what it maps.
    """
    if os.path.exists("/proc/self/status"):
        held = int(re.search(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10
        resource.setrlimit(resource.RLIMIT_DATA, (held + (megabytes << 20), resource.RLIM_INFINITY))


def main(name, cases, folder):
    """Print {what came of it: how many cases}, with the number of the first case of each fault."""
    signal.signal(signal.SIGALRM, too_long), signal.signal(signal.SIGPROF, too_long)
    case = getattr(importlib.import_module(FORMATS[name]), name)(Path(folder))
    counts, first = Counter(), {}
    for number in range(int(cases)):
        result = outcome(case, draw_for(name, SEED, number), OF_PICTURES if name == "pictures" else MEGABYTES)
        counts[result] += 1
        first.setdefault(result, number)
    print(json.dumps({"counts": counts, "first": first}))


if __name__ == "__main__":
    main(*sys.argv[1:])
