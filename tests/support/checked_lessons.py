"""What the checks of an executed lesson said."""

from labkit.lessons import notebooks


def results(notebook):
    """Return the first words of what the checks of an executed notebook said."""
    texts = [cell["outputs"][-1]["data"]["text/plain"] for cell in notebooks.tagged(notebook, "check")]
    return ["".join(text).split(":")[0] for text in texts]
