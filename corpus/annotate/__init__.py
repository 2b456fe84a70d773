"""Annotators: what edits documents, or adds columns to their measurements, between reading and measuring.

`annotators.make_annotators` builds those that a recipe asks for; `annotators.annotate` runs them one after another
on the documents of a part, inside the worker that read them. What an annotator depends on (its version, its table,
the hashes of its files) is its identity, which is part of the key of every reading task: another word list reads the
sources again, another threshold does not. To add one: a table in `config.py`, a subclass of `annotator.Annotator`,
and a line in `make_annotators`.
"""
