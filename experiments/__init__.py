"""Experiments: thin commands over the library, each of which writes to a folder.

`python -m experiments` lists them. Importing this package changes nothing.
"""
