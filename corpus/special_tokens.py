"""The special tokens of every castline tokenizer, and keeping them out of ordinary text."""

import re

END_OF_TEXT = "<|endoftext|>"
IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, IM_START, IM_END)

_INSIDE = re.compile(r"(?<=<)(?=\|(?:endoftext|im_start|im_end|reserved_\d+)\|>)")


def reserved_token(number: int) -> str:
    """The name of a token that pads the vocabulary and may be given a meaning later."""
    return f"<|reserved_{number}|>"


def plain_pieces(text: str) -> list[str]:
    """Cut a text inside every special token it spells out, so that encoding piece by piece never makes one.

    >>> plain_pieces("it ends with <|endoftext|>.")
    ['it ends with <', '|endoftext|>.']
    """
    return _INSIDE.split(text) if "<|" in text else [text]
