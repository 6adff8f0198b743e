"""What the five notebooks share: first and last cell, the panel, exercises and their checks, the chapter's claims.

Comes in: what speaks to a learner. Read first: session.py, then exercises.py; for the panel
panel.py, then panel_run.py.
"""
