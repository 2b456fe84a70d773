"""Code: whole repositories as documents, in the order in which their files import each other.

The main path is `packing.pack_repositories`, after the decisions: the kept files of every repository are put in
order (`layout`, by what `imports` finds and `order` sorts), written as one markdown document (`markdown`) or, over
the budget, as several, and mapped byte by byte to the files they came from.
"""
