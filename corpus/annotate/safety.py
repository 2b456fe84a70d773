"""Block lists: of domains and addresses, by a document's address; of words, in its text.

Columns: `blocked_url`, 1 or 0 (null where the address is not known); `blocked_words`, how many listed terms the text
holds (null for code); `blocked_terms`, which, with their counts. How terms are found is defined in
csrc/text/terms.hpp.
"""

import functools
import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from castline import _C
from castline.corpus.annotate.annotator import Annotation, Annotator, Column
from castline.corpus.annotate.config import SafetyConfig
from castline.corpus.annotate.lists import ListFile, describe, find_lists, read_entries, read_text
from castline.corpus.documents import Document
from castline.errors import DataError

SHOWN_TERMS = 10
_OTHER_SCRIPTS = re.compile(r"^[\x00-\x09\x0b-\x7f]*+[^\x00-\x7f].*", re.MULTILINE)  # whole lines that hold some
_URL_COLUMNS = (Column("blocked_url", "int64", "addresses on a block list"),)
_WORD_COLUMNS = (
    Column("blocked_words", "int64", "terms on a block list"),
    Column("blocked_terms", "string", "the most frequent of those terms"),
)


class SafetyAnnotator(Annotator):
    """Looks for what the lists of `[safety]` name."""

    name = "safety"
    version = 1

    def __init__(self, config: SafetyConfig, base: Path) -> None:
        """`base` is the folder that the lists' paths are relative to.

        Raises:
            DataError: a list is missing, empty or not text, or an entry of it cannot be one.
        """
        self._domains = find_lists(config.domains, base)
        self._urls = find_lists(config.urls, base)
        self._words = find_lists(config.words, base)
        self._exceptions = find_lists(config.exceptions, base)
        self._looks_at_urls = bool(self._domains or self._urls)
        self.columns = (_URL_COLUMNS if self._looks_at_urls else ()) + (_WORD_COLUMNS if self._words else ())
        _addresses(self._domains, self._urls)
        _matcher(self._words, self._exceptions)

    def identity(self) -> dict[str, Any]:
        """The lists' hashes."""
        lists = {"domains": self._domains, "urls": self._urls, "words": self._words, "exceptions": self._exceptions}
        return {name: [file.sha256 for file in files] for name, files in lists.items()}

    def annotate(self, documents: list[Document]) -> Annotation:
        """Look for listed addresses and terms; nothing is edited."""
        values: dict[str, Any] = {}
        if self._looks_at_urls:
            listed = _addresses(self._domains, self._urls)
            values["blocked_url"] = [listed.holds(document.metadata.get("url")) for document in documents]
        if self._words and documents and documents[0].kind == "code":
            values["blocked_words"] = values["blocked_terms"] = [None] * len(documents)
        elif self._words:
            matcher, terms = _matcher(self._words, self._exceptions)
            found = matcher.find([document.text for document in documents])
            values["blocked_words"] = [len(numbers) for numbers in found]
            values["blocked_terms"] = [describe_terms([terms[number] for number in numbers]) for numbers in found]
        return Annotation(documents, values)


class Addresses:
    """Listed domains (with all below them) and beginnings of addresses."""

    def __init__(self, domains: list[str], urls: list[str]) -> None:
        """`domains` are whole lists (csrc/text/domains.hpp), where names may be written in any script.

        `urls` are single ones such as example.org/forum, with or without a scheme.

        Raises:
            ValueError: a domain is not one, or the lists are empty.
        """
        self._domains = _C.DomainSet([one if one.isascii() else _OTHER_SCRIPTS.sub(_in_ascii, one) for one in domains])
        if domains and not len(self._domains):
            raise ValueError("expected a domain per line, but found none")
        self._urls: dict[str, list[str]] = {}
        for url in urls:
            host, path = _divide(url)
            self._urls.setdefault(host, []).append(path.rstrip("/"))

    def holds(self, url: str | None) -> int | None:
        """1 where an address is listed, else 0; None without an address."""
        if not url:
            return None
        host, path = _divide(url)
        if self._domains.holds(host):
            return 1
        prefixes = self._urls.get(host, [])
        return int(any(path == prefix or path.startswith((f"{prefix}/", f"{prefix}?")) for prefix in prefixes))


def describe_terms(terms: list[str]) -> str:
    """The most frequent terms with their counts; of equally frequent ones, those that come first."""
    most = Counter(terms).most_common()
    shown = [f"{term} ×{count}" if count > 1 else term for term, count in most[:SHOWN_TERMS]]
    return ", ".join(shown + ["…"] * (len(most) > SHOWN_TERMS))


def _in_ascii(line: re.Match[str]) -> str:
    return " ".join(_host(field) for field in line[0].partition("#")[0].split())


def _divide(url: str) -> tuple[str, str]:
    """Host (without `www.`) and path with query of an address; a broken one has no host."""
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        host = parts.hostname or ""
    except ValueError:
        return "", url
    return _host(host), parts.path + (f"?{parts.query}" if parts.query else "")


def _host(name: str) -> str:
    """A host's name in one form: lower case, ASCII (xn--…), without `www.` and an ending dot."""
    name = name.strip().lower().strip(".").removeprefix("www.")
    if not name.isascii():
        try:
            name = name.encode("idna").decode()
        except UnicodeError:
            return name
    return name


@functools.lru_cache(maxsize=4)
def _addresses(domains: tuple[ListFile, ...], urls: tuple[ListFile, ...]) -> Addresses:
    try:
        listed = [read_text(file) for file in domains]
        return Addresses(listed, read_entries(urls))
    except ValueError as error:
        raise DataError(f"safety.domains ({describe(domains)}): {error}; addresses belong into safety.urls") from None


@functools.lru_cache(maxsize=4)
def _matcher(words: tuple[ListFile, ...], exceptions: tuple[ListFile, ...]) -> tuple[_C.TermMatcher, list[str]]:
    terms = read_entries(words)
    try:
        return _C.TermMatcher(terms, read_entries(exceptions)), terms
    except ValueError as error:
        raise DataError(f"{describe(words + exceptions)}: expected terms that say something; {error}") from None
