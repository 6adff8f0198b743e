"""Text that may come from anywhere, made fit for one sentence and for a terminal. Standard library only."""

import math
import re
import reprlib
import textwrap

# What moves a cursor, starts a line, turns the direction of writing, or is half a character; no letter of any script
# is among them.
CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# Characters of a printed line: a browser breaks longer ones inside words.
LINE = 96
MOST = 1_500                                                  # characters of a sentence: room for two long paths

_short = reprlib.Repr()
_short.maxlevel, _short.maxstring, _short.maxother, _short.maxlong = 2, 80, 80, 40


def printable(text: object, keep: str = "") -> str:
    """Return a text with its control characters written out, as in \\x1b; `keep` holds those that may stay."""
    def written_out(match: re.Match[str]) -> str:
        return match[0] if match[0] in keep else match[0].encode("unicode_escape").decode()

    return CONTROL.sub(written_out, str(text))


def shown(value: object) -> str:
    """Return a value as Python writes it, cut to a few words however large or nested it is."""
    try:
        return _short.repr(value)
    except ValueError:                      # Python refuses to write whole numbers of thousands of digits
        return f"a long {type(value).__name__}"


def one_sentence(text: object) -> str:
    """Return a text on one line and of bounded length.

    Of a text that is too long stay its beginning, which names the fault, and its end, which tells the remedy.
    """
    whole = str(text)
    return printable(whole if len(whole) <= MOST else f"{whole[: 2 * MOST // 3]} ... {whole[-MOST // 3 :]}")


def in_lines(text: object) -> str:
    """Return a text in lines that a page shows whole, broken between words alone; ends of lines that it has stay."""
    lines = str(text).split("\n")
    return "\n".join(textwrap.fill(line, LINE, break_long_words=False, break_on_hyphens=False) for line in lines)


def counted(n: int, noun: str) -> str:
    """Return "1 picture" or "2 pictures"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def rounded(number: float) -> str:
    """Write a number above 0 with two leading digits, as a person would: 0.042, 1.5, 12, 490, 12,000."""
    number = float(f"{number:.2g}")
    return f"{number:,.0f}" if number >= 10 else f"{number:g}"


def rate_text(rate: float) -> str:
    """Write a rate as people say it: 0.0003 -> '3e-4', 0 -> '0'."""
    if not rate:
        return "0"
    mantissa, exponent = f"{rate:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def loss_text(loss: float) -> str:
    """Write a loss: '0.151', or 'not finite'."""
    return f"{loss:.3f}" if math.isfinite(loss) else "not finite"


def duration(seconds: float) -> str:
    """Write a duration as a person would: "40 s", "3 min", "2 h 5 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def interval_text(interval: tuple[float, float, float]) -> str:
    """Write a quantity (mean, low, high) without a sign: '0.021 (0.015 to 0.027)'."""
    mean, low, high = interval
    return f"{mean:.2g} ({low:.2g} to {high:.2g})"


def share_text(interval: tuple[float, float, float]) -> str:
    """Write a share (mean, low, high): '40% (31% to 52%)'."""
    mean, low, high = interval
    return f"{mean:.0%} ({low:.0%} to {high:.0%})"


def with_interval(interval: tuple[float, float, float]) -> str:
    """Write a difference (mean, low, high): '+0.021 (+0.015 to +0.027)', or 'not finite' where the mean is not."""
    mean, low, high = interval
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})" if math.isfinite(mean) else "not finite"
