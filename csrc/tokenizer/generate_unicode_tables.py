"""Write char_class_ranges.inc and nfc_data.inc: Unicode as Hugging Face tokenizers sees it.

    python csrc/tokenizer/generate_unicode_tables.py

Each property is asked of the installed `tokenizers` itself, code point by code point, because it mixes
tables of several Unicode versions: Oniguruma's (splitting patterns), Rust's `char::is_numeric` (Digits), the
`regex` crate's (the word characters around an added token) and an older one for normalisation. Run it again
when a new version of `tokenizers` makes tests/csrc/test_tokenizer*.py fail.
"""

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

FOLDER = Path(__file__).parent
HEADER = f"// Made by generate_unicode_tables.py with tokenizers {tokenizers.__version__}: do not edit.\n"
CODE_POINTS = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
CHUNK = 20_000
NFC = normalizers.NFC()
NFD = normalizers.NFD()


def matching(pattern: str) -> set[int]:
    """The code points that a splitting pattern's character class matches."""
    keep_matches = pre_tokenizers.Split(Regex(pattern + "+"), "removed", invert=True)
    pieces = keep_matches.pre_tokenize_str("".join(map(chr, CODE_POINTS)))
    return {ord(character) for piece, _ in pieces for character in piece}


def numeric() -> set[int]:
    """The code points that `Digits` sets apart."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    found: set[int] = set()
    for start in range(0, len(CODE_POINTS), CHUNK):
        text = "".join("a" + chr(code) for code in CODE_POINTS[start : start + CHUNK])
        found.update(ord(piece) for piece, _ in digits.pre_tokenize_str(text) if len(piece) == 1)
    return found - {ord("a")}


def word() -> set[int]:
    """The code points beside which a `single_word` added token is not found."""
    tokenizer = Tokenizer(models.BPE(vocab={"\n": 0}, merges=[]))
    tokenizer.add_tokens([AddedToken("<>", single_word=True, normalized=False)])
    found = set(CODE_POINTS)
    for start in range(0, len(CODE_POINTS), CHUNK):
        chunk = CODE_POINTS[start : start + CHUNK]
        encoding = tokenizer.encode("".join(chr(code) + "<>\n" for code in chunk))
        for token, (begin, _) in zip(encoding.tokens, encoding.offsets, strict=True):
            if token == "<>":
                found.discard(chunk[begin // 4])
    return found


def combining_class(code: int) -> int:
    """The canonical combining class, 0 where it was given after the Unicode version of the normaliser."""
    value = unicodedata.combining(chr(code))
    if value == 0:
        return 0
    # Put on the wrong side of a mark of the highest or lowest class, a mark moves if its class is known.
    text = "a\u0345" + chr(code) if value < 240 else "a" + chr(code) + "\u0334"
    return value if NFD.normalize_str(text) == unicodedata.normalize("NFD", text) else 0


def decompositions() -> Iterator[tuple[int, int, int, bool]]:
    """(code, first, second or 0, whether the two compose to the code), Hangul syllables left out."""
    for code in CODE_POINTS:
        mapping = unicodedata.decomposition(chr(code))
        if not mapping or mapping.startswith("<") or NFD.normalize_str(chr(code)) == chr(code):
            continue
        first, second = [*(int(part, 16) for part in mapping.split()), 0][:2]
        yield code, first, second, NFC.normalize_str(NFD.normalize_str(chr(code))) == chr(code)


def ranges(values: Iterator[tuple[int, int]]) -> Iterator[str]:
    """Runs of consecutive codes with the same value that is not 0, as initialisers {first, last, value}."""
    start, end, current = 0, 0, 0
    for code, value in [*values, (0x110000, 0)]:
        if value != current or code != end:
            if current:
                yield f"{{0x{start:X}, 0x{end - 1:X}, {current}}}"
            start, current = code, value
        end = code + 1


def write(name: str, arrays: dict[str, list[str]]) -> None:
    """Write constexpr arrays; the key is their declaration."""
    with (FOLDER / name).open("w", encoding="utf-8") as file:
        file.write(HEADER)
        for declaration, items in arrays.items():
            file.write(f"constexpr {declaration}[] = {{\n")
            for start in range(0, len(items), 4):
                file.write("    " + ", ".join(items[start : start + 4]) + ",\n")
            file.write("};\n")


def main() -> None:
    """Write both files."""
    marks = {code: combining_class(code) for code in CODE_POINTS}
    pairs = list(decompositions())
    hangul_vowels_and_finals = {*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)}
    seconds = {second for _, _, second, composes in pairs if composes} | hangul_vowels_and_finals
    changed = {code for code, _, _, composes in pairs if not composes}
    unstable = seconds | changed | {code for code, value in marks.items() if value}
    # In the order of CharClass (char_class.hpp).
    classes = [matching(r"\p{L}"), matching(r"\p{N}"), matching(r"\s"), numeric(), word(), unstable]
    bits = ((code, sum(1 << bit for bit, members in enumerate(classes) if code in members)) for code in CODE_POINTS)
    write("char_class_ranges.inc", {"Range kRanges": list(ranges(bits))})
    write(
        "nfc_data.inc",
        {
            "MarkRange kMarks": list(ranges(iter(marks.items()))),
            "Decomposition kDecompositions": [
                f"{{0x{code:X}, 0x{first:X}, 0x{second:X}, {'true' if composes else 'false'}}}"
                for code, first, second, composes in pairs
            ],
        },
    )


if __name__ == "__main__":
    main()
