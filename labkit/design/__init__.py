"""A run before it starts: its fields, schedules, arithmetic and design file.

Standard library, and YAML only when a file is read. Comes in: what can be said of a run without training it.
Read first: config.py.
"""
