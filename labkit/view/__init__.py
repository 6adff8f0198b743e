"""Figures, tables and cards of what is stored and judged. Matplotlib; IPython only for what a notebook displays.

Put code here if several lessons draw it. Nothing here saves a figure. Read first: style.py, then curves.py.
"""
