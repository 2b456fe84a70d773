"""Readers: each turns one file into documents and rejects, and loses nothing silently.

The main path: `formats.py` picks a reader by the source's format or the file's name, `read.py` runs it. A reader
is a generator of `Pending` records (`record.py`) over a `Content` (`content.py`): a file, a member of an archive
or an object of a git repository. Turning a pending record into a document may be costly or fail; what was read
before an interruption is passed over without doing so.
"""
