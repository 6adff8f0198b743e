"""What a run told, on the disk and as plain arrays: events, journals, run folders, recorded sets, adapter files. No torch.

Comes in: what keeps or reads back what a run told. Read first: events.py, then runs.py.
"""
