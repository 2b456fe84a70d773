"""Write char_class_ranges.inc: the code points that Hugging Face tokenizers counts as letters, numbers, ….

    python csrc/tokenizer/generate_char_classes.py > csrc/tokenizer/char_class_ranges.inc

The classes are asked of the installed `tokenizers` itself, code point by code point, because it mixes three
Unicode tables: Oniguruma's (splitting patterns), Rust's `char::is_numeric` (Digits) and the `regex` crate's
(the word characters around an added token). Run it again when a new version of `tokenizers` brings a new
Unicode version; tests/csrc/test_tokenizer_split.py fails then.
"""

import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers

CODE_POINTS = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
CHUNK = 20_000


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


def main() -> None:
    """Print the table."""
    bits = [
        ("kLetter", matching(r"\p{L}")),
        ("kNumber", matching(r"\p{N}")),
        ("kSpace", matching(r"\s")),
        ("kNumeric", numeric()),
        ("kWord", word()),
    ]
    out = sys.stdout
    out.write(f"// Made by generate_char_classes.py with tokenizers {tokenizers.__version__}: do not edit.\n")
    out.write("// {first, last, classes}, ascending; the bits of classes are those of CharClass.\n")
    start, current = 0, 0
    for code in range(0x110001):
        value = sum(1 << bit for bit, (_, members) in enumerate(bits) if code in members)
        if value != current:
            if current:
                out.write(f"{{0x{start:X}, 0x{code - 1:X}, {current}}},\n")
            start, current = code, value


if __name__ == "__main__":
    main()
