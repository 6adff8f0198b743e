"""Verdicts and comparisons from plain numbers, with their uncertainty. Numpy, no torch.

Comes in: what a judgement follows from, for any run and any lesson. Read first: diagnose.py.
"""
