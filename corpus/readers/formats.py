"""Which reader takes a file: by the source's format, or by the file's name where that is `auto`."""

from pathlib import PurePosixPath

from castline.corpus.config import Source
from castline.corpus.documents import Reason
from castline.corpus.readers.compressed import compression, inner_name
from castline.corpus.readers.languages import file_language, programming_language
from castline.corpus.rules.code import MARKUP_LANGUAGES

_FORMATS = {
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".warc": "warc",
}
_RECORD_FORMATS = ("jsonl", "parquet", "warc")
_SHORT_TAR = {".tgz": ".tar.gz", ".tbz2": ".tar.bz2", ".txz": ".tar.xz", ".tzst": ".tar.zst"}
_VENDOR_FOLDERS = frozenset({"node_modules", "bower_components", "site-packages", "dist-packages", "__pycache__"})
_VENDOR_FOLDERS |= {"vendor", "vendored", "_vendor", "third_party", "third-party", "thirdparty"}

WHY = {
    Reason.NOT_PROSE: "code or data among texts; add a source of kind 'code', or name its format",
    Reason.UNKNOWN_LANGUAGE: "no programming language has such names; set the source's format to code to take it",
    Reason.UNKNOWN_FORMAT: "chat is read from jsonl and parquet; convert the file, or name its format",
    Reason.VENDORED: "code of others; set the source's vendored = true to take it",
}


def archive_name(path: str) -> str:
    """The name of an archive with its long ending (`.zip`, `.tar`, `.tar.gz`); empty for other files."""
    name = PurePosixPath(path.lower()).name
    for short, long in _SHORT_TAR.items():
        name = name.removesuffix(short) + long if name.endswith(short) else name
    return name if name.endswith(".zip") or inner_name(name).endswith(".tar") else ""


def choose_reader(source: Source, path: str) -> str | Reason:
    """The format that a file of this source is read as, or the reason why it is not read."""
    if source.kind == "code" and not source.vendored and _VENDOR_FOLDERS & set(PurePosixPath(path.lower()).parts[:-1]):
        return Reason.VENDORED
    if source.format not in ("auto", "git"):
        return source.format
    name = PurePosixPath(inner_name(path.lower())).name
    form = _FORMATS.get(PurePosixPath(name).suffix)
    if source.kind == "chat":
        return form if form in _RECORD_FORMATS else Reason.UNKNOWN_FORMAT
    if form in _RECORD_FORMATS:
        return form
    if source.kind == "code":
        if programming_language(name):
            return "code"
        return Reason.UNKNOWN_LANGUAGE if file_language(name) or compression(path) else "script"
    if form:
        return form
    language = file_language(name)
    return "txt" if language is None or language in MARKUP_LANGUAGES else Reason.NOT_PROSE


def can_be_divided(source: Source, path: str) -> bool:
    """Whether a large file of this name is read in pieces: lines, row groups or gzip members are found from anywhere.

    In a compressed jsonl file they are not; of WARC only the usual form, with a gzip member per record, is divided.
    """
    if archive_name(path):
        return False
    form = compression(path)
    return (choose_reader(source, path), form) in {("jsonl", ""), ("parquet", ""), ("warc", "gzip")}
