"""What runs reported while they trained, on the disk and as plain arrays. No torch.

Comes in: what writes or reads events, journals, run folders, recorded sets and adapter files.
Read first: events.py, then runs.py.
"""
