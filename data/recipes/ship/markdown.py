"""Numbers as Markdown."""


def table(head, rows):
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def percent(share):
    """A share with its interval, [share, low, high], as text; nothing for None, which was not measured."""
    if share is None:
        return ""
    middle, low, high = (f"{100 * x:.0f}" for x in share)
    return f"{middle} % ({low} to {high})"
