"""Files from outside and to the disk: read through one door a format, written whole or not at all, known by their content.

Comes in: a format that is read, or a way of writing that loses nothing. Nothing here knows what a run is. Read first: atomic.py.
"""
