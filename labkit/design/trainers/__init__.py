"""How other trainers call what a run has: one table a trainer, and the engine that reads and writes by them.

Put code here if it says something of the settings of another trainer. Read first: table.py (the form), then kohya.py.
"""
