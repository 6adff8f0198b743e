"""The command line, called in this process."""

from labkit.cli import parser as cli


def labkit(capsys, *arguments):
    """Run a command line in this process; return exit code, stdout and stderr."""
    capsys.readouterr()
    try:
        code = cli.run(cli.parse([str(argument) for argument in arguments]))
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()
