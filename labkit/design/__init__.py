"""A run before it starts: its fields, schedules, arithmetic and design file. Standard library, and YAML for files.

Put code here if it says something of a run that needs no training and no pictures. Read first: config.py.
"""
