"""One question a file: functions that measure ask it of runs or of a base, tables and figures show the answer.

Comes in: what a lesson shows that the lab itself does not need. Read first: distance.py.
"""
