"""Files: one reader for each format from outside, writing whole or not at all, hashes of content, locks.

Put code here if it reads a format, or writes so that nothing is lost. Nothing here knows what a run is.
Read first: atomic.py.
"""
