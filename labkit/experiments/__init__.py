"""One question a file: functions that measure ask it of runs or of a base, tables and figures show the answer.

Put code here if a lesson shows it, or a verb answers with it, and the lab itself does not need it. Read first:
rank.py.
"""
