"""Pages that would keep an HTML parser busy for hours are refused before it sees them.

The time that the standard's tree construction takes is quadratic, and worse, in how many elements are open at once and
how many attributes one element has; real pages have few of both. One linear scan over the tags counts them.
"""

import re
from collections import Counter

from castline.corpus.documents import Reason, UnreadableError

MAX_OPEN = 1024  # elements, twice what browsers let be nested
MAX_ATTRIBUTES = 4096  # of one element

_SHORT = 64 * 1024  # characters: no harm in the attributes of such a page

_ATTRIBUTE = r"""=?+[^\s/>=]++(?:\s*+=\s*+(?:"[^"]*+"?+|'[^']*+'?+|[^\s>"'][^\s>]*+)?+)?+"""
_TAG = re.compile(rf"<!--(?:-?>|.*?(?:--!?>|\Z))|<(/?)([A-Za-z][^\s/>]*+)((?:[\s/=]++|{_ATTRIBUTE})*+)", re.DOTALL)
_ATTRIBUTES = re.compile(_ATTRIBUTE)
# Up to their end tag all is text.
_RAW = frozenset(["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"])
_VOID = frozenset(["area", "base", "br", "col", "embed", "hr", "img", "input"])
_VOID |= {"link", "meta", "param", "source", "track", "wbr"}
_ENDED_BY_OTHERS = frozenset(["html", "head", "body", "p", "li", "dd", "dt", "option", "optgroup"])
_ENDED_BY_OTHERS |= {"tr", "td", "th", "thead", "tbody", "tfoot", "rb", "rt", "rtc", "rp"}
_ROOTS = ("html", "body")  # the attributes of all of their tags become those of one element
# These stay in force where an element around them ends: they are opened again in the next one.
_FORMATTING = frozenset(["a", "b", "big", "code", "em", "font", "i", "nobr"])
_FORMATTING |= {"s", "small", "strike", "strong", "tt", "u"}
_ENDED_BY_THE_NEXT = ("a", "nobr")


def check_page(html: str) -> None:
    """Refuse a page that is beyond every real one.

    Raises:
        UnreadableError: `too_complex`.
    """
    if html.count("<") <= MAX_OPEN and len(html) <= _SHORT:
        return
    scan = _Scan()
    at = 0
    while tag := _TAG.search(html, at):
        at = tag.end()
        name = (tag[2] or "").lower()
        if not name:
            continue  # a comment
        if tag[1]:
            scan.end(name)
            continue
        scan.attributes(name, tag[3])
        if name in _RAW:
            end = re.compile(rf"</{name}", re.IGNORECASE).search(html, at)
            at = end.start() if end else len(html)
        elif name not in _VOID and name not in _ENDED_BY_OTHERS:
            scan.start(name)


class _Scan:
    """The elements that are open at one place of a page."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._times: Counter[str] = Counter()  # how often each is in there
        self._formatting: Counter[str] = Counter()
        self._root_attributes = 0

    def start(self, name: str) -> None:
        if name in _FORMATTING:
            self._formatting[name] = 1 if name in _ENDED_BY_THE_NEXT else self._formatting[name] + 1
            if self._formatting.total() > MAX_OPEN:
                raise _too_complex(f"more than {MAX_OPEN} elements such as <{name}> are open at once")
            return
        self._open.append(name)
        self._times[name] += 1
        if len(self._open) > MAX_OPEN:
            raise _too_complex(f"more than {MAX_OPEN} elements are open at once")

    def end(self, name: str) -> None:
        if name in _FORMATTING:
            self._formatting[name] = max(self._formatting[name] - 1, 0)
        elif self._times[name]:
            while (ended := self._open.pop()) != name:
                self._times[ended] -= 1
            self._times[name] -= 1

    def attributes(self, name: str, text: str) -> None:
        known = 0
        if name in _ROOTS:
            known = self._root_attributes = self._root_attributes + len(_ATTRIBUTES.findall(text))
        elif len(text) > MAX_ATTRIBUTES:
            known = len(_ATTRIBUTES.findall(text))
        if known > MAX_ATTRIBUTES:
            raise _too_complex(f"an element has more than {MAX_ATTRIBUTES} attributes")


def _too_complex(detail: str) -> UnreadableError:
    return UnreadableError(Reason.TOO_COMPLEX, detail)
