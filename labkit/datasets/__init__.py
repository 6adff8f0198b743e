"""Pictures with captions, as folders have them: read, checked and cut into sets. Pillow and numpy, no torch.

Put code here if it tells something of pictures before a base sees them. Read first: folders.py.
"""
