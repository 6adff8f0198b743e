"""What the five notebooks share: first and last cell, the panel, exercises and their checks, the chapter's claims.

Put code here if it speaks to a learner. Read first: session.py, then exercises.py; for the panel panel_view.py (its
buttons), panel.py, then panel_run.py.
"""
