"""What ships in data/ beside the weights: pictures, latents, recorded runs, figures, and the tables of the model card.

All of labkit and both other rooms may come in here. Read territories.py first, then recorded.py. In pairs.json are
couples of pictures that a person called alike or unlike; in log/ is what the trainings wrote and what was measured.
"""
