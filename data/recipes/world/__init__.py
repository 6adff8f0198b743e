"""The world: which place an index means, how it is built, rendered and captioned.

NumPy, Pillow, Mitsuba and Open Image Denoise may come in here; no torch, no labkit and no other room. Read draws.py
first, then ordinary.py.
"""
