"""The command line: its verbs, its own environment, headless lessons and their report.

Comes in: what a verb does. It reads options, calls what lies below and returns an outcome. Read first: parser.py.
"""
