"""The models: the embedded base, the attribute reader, and how both are trained on rendered pictures.

torch, diffusers and transformers may come in here, the room world, and of labkit the reader's network; nothing of the
room ship. Read architecture.py first, then training.py.
"""
