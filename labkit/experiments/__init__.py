"""One question a file: measure_x asks it of runs or of a base, x_table and plot_x show the answer.

Comes in: what a lesson shows that the lab itself does not need. Read first: rank.py.
"""
