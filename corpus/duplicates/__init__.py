"""Duplicates: found among all documents that were read, each pair verified; who stays is decided afterwards.

    index.py     a file per part: what the search needs of its documents
    search.py    clusters and verified pairs, from these files
    earlier.py   finished corpora that new documents are compared with
    keep.py      the one document of a cluster that stays, when decisions are made (`corpus/decide.py`)
    matches.py   why two documents are in one cluster (`corpus/explain.py`)
    summary.py   the part of the report

The search itself is `csrc/text/duplicates.hpp`: on disk, in bounded memory.
"""

CLUSTERS = "duplicates/clusters.parquet"
PAIRS = "duplicates/pairs.parquet"
