"""Duplicates: found among all documents that were read, each pair verified; who stays is decided afterwards.

`search.py` finds clusters of duplicates, `keep.py` chooses the one document of each that stays, when decisions are made
(`corpus/decide.py`).
"""
