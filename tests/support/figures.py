"""What every figure is asked: that its words can be read and its intervals seen whole."""

import itertools

import numpy as np
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.text import Text


def drawn_words(figure):
    """Return every text of a figure that is drawn.

    matplotlib keeps the labels of ticks beyond the axes and draws none of them.
    """
    beyond = set()
    for ax in itertools.chain.from_iterable((parent, *parent.child_axes) for parent in figure.axes):
        for axis, (low, high) in ((ax.xaxis, sorted(ax.get_xlim())), (ax.yaxis, sorted(ax.get_ylim()))):
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            for tick in ticks:
                if not low <= tick.get_loc() <= high:
                    beyond |= {tick.label1, tick.label2}
    texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    return [text for text in texts if text not in beyond]


def assert_words_keep_apart(figure):
    """Ask that no two words of a figure touch and none leaves it."""
    figure.draw_without_rendering()
    words = drawn_words(figure)
    boxes = {text: Text.get_window_extent(text) for text in words}
    assert words
    for first, second in itertools.combinations(words, 2):
        assert not boxes[first].padded(-1).overlaps(boxes[second].padded(-1)), (first.get_text(), second.get_text())
    for text, box in boxes.items():
        assert figure.bbox.x0 - 1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1, text.get_text()
        assert figure.bbox.y0 - 1 <= box.y0 and box.y1 <= figure.bbox.y1 + 1, text.get_text()


def assert_bands_are_whole(figure):
    """Ask that no interval of a figure, band or bar, is cut at its axes."""
    seen = 0
    for ax in figure.axes:
        low, high = sorted(ax.get_ylim())
        for drawn in (each for each in ax.collections if isinstance(each, PolyCollection | LineCollection)):
            heights = np.concatenate([path.vertices[:, 1] for path in drawn.get_paths()])
            assert low <= heights.min() and heights.max() <= high, (heights.min(), heights.max(), low, high)
            seen += 1
    assert seen
