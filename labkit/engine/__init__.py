"""Training: a frozen base, encoded pictures, adapters of K runs side by side, and the loop.
Torch; diffusers in base.py only.

Comes in: what happens during a pass. It prints nothing and judges nothing. Read first: train.py.
"""
