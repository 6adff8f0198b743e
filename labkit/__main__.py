"""Run a verb from a bare checkout: python3 -m labkit VERB. This file must parse in every Python, even an old one."""
import os
import sys

if sys.version_info < (3, 11):
    sys.stderr.write(
        "labkit needs Python 3.11 or newer; this is Python %d.%d (%s).\n"
        "Install a newer Python, then run the same command with it, for example: python3.12 -m labkit lab\n"
        % (sys.version_info[0], sys.version_info[1], sys.executable)
    )
    sys.exit(2)

# Python searches first in the folder of the script (`python3 path/to/labkit`), or in the current one (`-m labkit`): a
# json.py there, whoever left it, would run in place of the standard library's.
if not __package__ or (__name__ == "__main__" and not sys.flags.safe_path):
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main():
    """Parse the command line, make or find an environment for its verb, and run it there."""
    try:
        from labkit import interrupts  # here: an old Python must not read it at all

        with interrupts.answered_by(interrupts.raise_interrupted):
            from labkit.cli import bootstrap  # here: a signal may come while it loads

            return bootstrap.main(sys.argv[1:])
    except KeyboardInterrupt as stop:
        sys.stderr.write("labkit: %s\n" % (str(stop) or "interrupted"))
        return getattr(stop, "code", 130)


if __name__ == "__main__":
    sys.exit(main())
