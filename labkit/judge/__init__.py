"""Verdicts and comparisons from plain numbers, with their uncertainty. Numpy, no torch.

Comes in: what a judgement follows from, for any run and any lesson. Read first: findings.py (the rule and its
thresholds), then diagnose.py.
"""
