"""What runs reported while they trained, on the disk and as plain arrays. No torch.

Put code here if it writes or reads events, journals, run folders, recorded sets or adapter files.
Read first: events.py, then runs.py.
"""
