"""Who looks at a kernel is told by what started it; what stops a cell or is odd about it shows one sentence."""

import time

import pytest
from jupyter_client import MultiKernelManager

from labkit.settings import REPO
from labkit.text import LINE

SESSION = {"JPY_SESSION_NAME": "/notebooks/00_start.ipynb"}


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """Start a kernel as Jupyter's server does; give a function: code -> (what it printed, the name of its error)."""
    folder = tmp_path_factory.mktemp("server")
    environment = {"PYTHONPATH": str(REPO), "IPYTHONDIR": str(folder), "JUPYTER_PREFER_ENV_PATH": "1", **SESSION}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.delenv("LABKIT_FRONTEND", raising=False)
        manager = MultiKernelManager(connection_dir=str(folder))
        name = manager.start_kernel(kernel_name="python3")
    client = manager.get_kernel(name).client()
    client.start_channels()
    client.wait_for_ready(timeout=300)

    def run(code, interrupt_at=None):
        printed, request = [], client.execute(code)
        while True:
            message = client.get_iopub_msg(timeout=300)
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                printed.append(content["text"])
            elif kind == "error":
                printed.append("\n".join(content["traceback"]))
            if interrupt_at and interrupt_at in "".join(printed):
                time.sleep(0.2)
                manager.get_kernel(name).interrupt_kernel()
                interrupt_at = None
            if kind == "status" and content["execution_state"] == "idle":
                break
        while (reply := client.get_shell_msg(timeout=300))["parent_header"]["msg_id"] != request:
            pass
        return "".join(printed), reply["content"].get("ename")

    yield run
    client.stop_channels()
    manager.shutdown_all(now=True)


def test_a_kernel_of_a_server_is_watched(kernel):
    assert kernel("from labkit.view import frontend\nprint(frontend.frontend())") == ("browser\n", None)


def test_an_interrupted_cell_of_a_lesson_shows_one_sentence_and_ends_in_an_error(kernel):
    assert kernel("from labkit.lessons import session\nsession.begin()") == ("", None)
    printed, error = kernel("import time\nprint('waiting')\ntime.sleep(60)", interrupt_at="waiting")
    assert printed == "waiting\nInterrupted. What was finished is kept: run this cell again to go on.\n"
    assert error == "KeyboardInterrupt"
    assert kernel("print('and on')") == ("and on\n", None)


LONG = "the picture a.png of this folder has a caption that is cut; " * 4
WARNS = f"""
import warnings
from labkit.errors import LabError, LabWarning
warnings.warn({LONG!r}, LabWarning)
warnings.warn('odd')"""


def test_a_warning_or_an_error_of_the_kit_is_its_sentence_alone_in_lines_that_a_page_shows_whole(kernel):
    kernel("from labkit.lessons import session\nsession.begin()")
    printed, error = kernel(WARNS)
    ours, others = printed.split("\n/", 1)
    assert error is None and " ".join(ours.split()) == LONG.strip() and max(map(len, ours.split("\n"))) <= LINE
    assert "UserWarning: odd" in others  # of other libraries the place is told as ever
    printed, error = kernel(f"raise LabError({LONG!r})")
    assert error == "LabError" and " ".join(printed.split()) == f"LabError: {LONG.strip()}"
    assert max(map(len, printed.split("\n"))) <= LINE
