"""Figures, tables and cards of what is stored and judged. Matplotlib; IPython only for what a notebook displays.

Comes in: what several lessons draw. Nothing here saves a figure. Read first: style.py, then curves.py.
"""
