"""The command line: its verbs, its own environment, headless lessons and their report.

Put code here if it is what a verb does: it reads options, calls what lies below and returns an outcome.
Read first: parser.py.
"""
