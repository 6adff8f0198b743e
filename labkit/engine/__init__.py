"""Training: a frozen base, encoded pictures, adapters of K runs side by side, and the loop.
Torch; diffusers in base.py, loading.py and merging.py only.

Put code here if it happens while runs train. It prints nothing and judges nothing. Read first: train.py.
"""
