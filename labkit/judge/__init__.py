"""Verdicts and comparisons from plain numbers, with their uncertainty. Numpy, no torch.

Put code here if it computes a verdict or a comparison from recorded numbers and would work for any run. Text for one
lesson belongs in lessons/, figures in view/. Read first: findings.py (the rule), then diagnose.py (the verdict).
"""
