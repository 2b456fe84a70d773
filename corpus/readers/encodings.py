"""Which encoding bytes are in, and text out of them only when that is sure.

UTF-8 comes first, then byte order marks and UTF-16 without one. For the rest a detector proposes and a plain
check decides: nearly all characters of real text come from the common part of their standard (the kana and
first-level kanji of JIS, the first-level characters of GB 2312 and Big5, the hangul of KS X 1001), which text
read in a wrong encoding does not hit. A file in two encodings fails that check somewhere, and is rejected.
"""

import codecs
import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator

from castline.corpus.documents import Reason, UnreadableError

MARK = "\ufeff"
LONGEST_BEGINNING = 8  # bytes that tell JSON in a wide encoding
_WIDE = ("utf-16", "utf-32")
_JSON_STARTS = ('{"', "{ ", "{\t", "{}", '["', "[{", "[[")
_MARKS = [
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
]
# The first byte pairs of each standard's common characters, and the codec that knows them. Where two explain
# a text equally well the first one wins: Korean bytes are common Chinese ones too, but not the other way round.
_COMMON = {
    "euc_kr": ("euc_kr", [(0xA1, 0xA3), (0xB0, 0xC8)]),
    "euc_jp": ("euc_jp", [(0xA1, 0xA5), (0xB0, 0xCF)]),
    "shift_jis": ("euc_jp", [(0xA1, 0xA5), (0xB0, 0xCF)]),
    "big5": ("big5", [(0xA1, 0xC6)]),
    "gb18030": ("gb2312", [(0xA1, 0xA3), (0xB0, 0xD7)]),
}
_DECODERS = {"shift_jis": "cp932", "euc_kr": "cp949", "big5": "cp950"}  # what is written under these names
_JAPANESE = ("euc_jp", "shift_jis")
_SAMPLE = 1 << 18  # bytes that are looked at; what follows has to decode too
_WINDOW = 512  # characters
_ENOUGH = 0.9
_ENOUGH_IN_WINDOW = 0.6
_MARGIN = 0.03
_LEAST_KANA = 0.1
_LEAST_CHARACTERS = 16  # of several bytes each; fewer may be common ones in a wrong encoding by chance
_LEAST_HIGH_BYTES = 1.3  # per such character: one and a letter of ASCII is more likely a European text
_LEAST_BYTES = 64  # of a text in an encoding of one byte per character
_LATIN = ("cp1250", "cp1252", "cp1254", "cp1257", "cp1258", "iso8859-1", "iso8859-2", "iso8859-3", "iso8859-4")
_OTHER_CENTRAL = {"cp1250": "iso8859-2", "iso8859-2": "cp1250"}
_ASCII = bytes(range(128))
_UTF8_LETTER = re.compile(rb"[\xc3-\xc5][\x80-\xbf]")  # of a European language
_NOT_IN_WORDS = ("Sc", "Sk", "Sm", "So", "No", "Ps")
_CONTROLS = frozenset(map(chr, [*range(0, 9), 11, *range(14, 27), *range(28, 32), *range(127, 160)]))


def decode(data: bytes, encoding: str = "auto", declared: str = "") -> tuple[str, str]:
    """The text of a file and the encoding it was in (Python's name for it).

    Args:
        data: the whole file.
        encoding: where it is not `auto`, what the recipe says; nothing else is tried.
        declared: what the file or its server says, which counts when the text bears it out.

    Raises:
        UnreadableError: the bytes are no text, or their encoding is not sure.
    """
    if encoding != "auto":
        return _decode_as(data, encoding).removeprefix(MARK), codecs.lookup(encoding).name
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _decode_as(data[len(mark) :], name), name
    if b"\0" in data:
        return _without_mark(data)
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        broken = error.start
    name = _declared(data, declared) or _multibyte(data) or _single_byte(data)
    if name:
        try:
            return data.decode(name), name
        except UnicodeDecodeError as error:
            broken = error.start
    detail = "not UTF-8, and the encoding is not sure; name it with the source's encoding, or convert the file"
    raise UnreadableError(Reason.UNKNOWN_ENCODING, detail, at=f"byte {broken}")


def _decode_as(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        detail = f"not valid {encoding}: {error.reason}"
        raise UnreadableError(Reason.UNKNOWN_ENCODING, detail, at=f"byte {error.start}") from None


def is_wide(encoding: str) -> bool:
    """Whether a character of ASCII takes several bytes in this encoding, so that no byte alone is a line feed."""
    return codecs.lookup(encoding).name.startswith(_WIDE)


def wide_json(beginning: bytes) -> str:
    """The encoding of JSON that begins so, if that is UTF-16 or UTF-32; else nothing.

    Args:
        beginning: at least `LONGEST_BEGINNING` bytes, if there are as many.
    """
    for mark, name in _MARKS:
        if beginning.startswith(mark):
            return name if is_wide(name) else ""
    names = [f"{name}-{order}" for name in _WIDE for order in ("le", "be")]
    return next((name for name in names if beginning.startswith(tuple(s.encode(name) for s in _JSON_STARTS))), "")


def to_utf8(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Pieces of a stream in UTF-16 or UTF-32 as UTF-8, without a mark; half of a surrogate pair stays what it is.

    Raises:
        UnreadableError: the stream ends inside a character, or is not in this encoding.
    """
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    begun = False
    try:
        for chunk in chunks:
            text = decoder.decode(chunk)
            yield (text if begun else text.removeprefix(MARK)).encode("utf-8", "surrogatepass")
            begun = begun or text != ""
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise UnreadableError(Reason.CORRUPT, f"not valid {encoding}: {error.reason}") from None


def _without_mark(data: bytes) -> tuple[str, str]:
    """UTF-16 without a mark: half of it is text, the other half is zero bytes or high bytes of one script."""
    for name in ("utf-16-le", "utf-16-be"):
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        known = sum(unicodedata.category(c) not in ("Cn", "Co", "Cc") or c in "\t\n\r\f" for c in text[:_SAMPLE])
        spaces = sum(c in " \n，。、" for c in text[:_SAMPLE])
        if known == len(text[:_SAMPLE]) and spaces * 100 >= len(text[:_SAMPLE]):
            return text, name
    raise UnreadableError(Reason.BINARY, "a NUL byte", at=f"byte {data.index(0)}")


def _declared(data: bytes, name: str) -> str:
    """The declared encoding where the text bears it out, else nothing."""
    try:
        found = codecs.lookup(name).name if name else ""
    except LookupError:
        return ""
    family = {"gb2312": "gb18030", "gbk": "gb18030", "big5hkscs": "big5", "cp950": "big5", "cp932": "shift_jis"}
    family |= {"cp949": "euc_kr"}
    found = family.get(found, found)
    if found in _COMMON:
        return _DECODERS.get(found, found) if _common_share(data, found) >= _ENOUGH else ""
    return found if found.startswith(("cp125", "iso8859", "koi8")) and _plausible(data, found) else ""


def _multibyte(data: bytes) -> str:
    """The East Asian encoding that explains the text, else nothing."""
    if len(data[:_SAMPLE].translate(None, _ASCII)) < _LEAST_CHARACTERS * _LEAST_HIGH_BYTES:
        return ""
    shares = {name: _common_share(data, name) for name in _COMMON}
    best = max(shares.values())
    if best < _ENOUGH:
        return ""
    close = [name for name, share in shares.items() if share >= best - _MARGIN]
    return _DECODERS.get(close[0], close[0])


def _common_share(data: bytes, name: str) -> float:
    """The share of common characters among those beyond ASCII; 0 where the bytes are not in this encoding."""
    try:
        text = codecs.getincrementaldecoder(_DECODERS.get(name, name))().decode(data[:_SAMPLE])
    except UnicodeDecodeError:
        return 0.0
    others = [c for c in text if c > "\x7f"]
    if len(data[:_SAMPLE].translate(None, _ASCII)) < _LEAST_HIGH_BYTES * len(others):
        return 0.0
    common = _common_characters(name)
    hits = [c in common for c in others]
    windows = [hits[at : at + _WINDOW] for at in range(0, max(len(hits) - _WINDOW // 2, 1), _WINDOW)]
    if not others or any(sum(window) < _ENOUGH_IN_WINDOW * len(window) for window in windows):
        return 0.0
    if name in _JAPANESE and sum("\u3040" <= c <= "\u30ff" for c in others) < _LEAST_KANA * len(others):
        return 0.0
    return sum(hits) / len(hits)


@functools.cache
def _common_characters(name: str) -> frozenset[str]:
    codec, ranges = _COMMON[name]
    rows = [row for first, last in ranges for row in range(first, last + 1)]
    cells = [bytes((row, cell)) for row in rows for cell in range(0x40, 0xFF)]
    return frozenset(c for pair in cells for c in pair.decode(codec, "ignore") if c > "\x7f")


def _single_byte(data: bytes) -> str:
    """The detector's guess among encodings of one byte per character, where the text bears it out."""
    from resiliparse.parse.encoding import detect_encoding

    if len(data) < _LEAST_BYTES:
        return ""
    try:
        name = codecs.lookup(detect_encoding(data[:_SAMPLE])).name
    except LookupError:
        return ""
    if name.startswith("iso8859-1") and _plausible(data, "cp1252"):
        name = "cp1252"  # what is written under that name
    if not _plausible(data, name):
        name = _OTHER_CENTRAL.get(name, "")
    return name if name.startswith(("cp125", "iso8859", "koi8")) and _plausible(data, name) else ""


def _plausible(data: bytes, name: str) -> bool:
    """Whether the text has no control characters, no words of two scripts, no capitals after small letters."""
    try:
        text = data[:_SAMPLE].decode(name)
    except UnicodeDecodeError:
        return False
    if name.startswith(_LATIN) and _UTF8_LETTER.search(data):
        return False  # mixed with UTF-8, or UTF-8 that is damaged
    odd = letters = 0
    for before, c in zip(" " + text, text, strict=False):
        if c in _CONTROLS:
            return False
        if c > "\x7f" or before > "\x7f":
            letters += c > "\x7f"
            both = c.isalpha() and before.isalpha()
            odd += both and (_script(c) != _script(before) or (c.isupper() and before.islower()))
            odd += c > "\x7f" and before.isalpha() and (c == "¶" or unicodedata.category(c) in _NOT_IN_WORDS)
    return odd <= 0.05 * letters


def _script(character: str) -> str:
    return unicodedata.name(character, "").partition(" ")[0]
