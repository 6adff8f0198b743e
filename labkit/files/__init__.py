"""Files: one reader for each format from outside, writing whole or not at all, hashes of content, locks.

Comes in: a format that is read, or a way of writing that loses nothing. Nothing here knows what a run is.
Read first: atomic.py.
"""
