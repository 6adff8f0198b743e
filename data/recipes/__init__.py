"""How what is in data/ was made: `world` builds the pictures, `model` trains on them, `ship` makes what ships.

Rooms import downwards only: ship from model and world, model from world. Every script is started in the folder data,
as in `python -m recipes.world.render`; in any other folder Python answers "No module named 'recipes'".
"""
