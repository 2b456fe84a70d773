"""Documents to tokens with the corpus's tokenizer; no text spells a special token, only a chat's markers are some."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from castline import _C
from castline.corpus.documents import Document
from castline.corpus.special_tokens import SPECIAL_TOKENS
from castline.files import read_json


class SpecialCuts:
    """Cuts texts inside every special token they spell out, so that encoding piece by piece never makes one."""

    def __init__(self, tokens: Iterable[str]) -> None:
        """`tokens` are the special tokens; one of a single character cannot be cut and is left alone.

        >>> SpecialCuts(["<|endoftext|>"])("it ends with <|endoftext|>.")
        ['it ends with <', '|endoftext|>.']
        """
        long = [token for token in tokens if len(token) > 1]
        inside = (f"(?<={re.escape(token[0])})(?={re.escape(token[1:])})" for token in long)
        self._inside = re.compile("|".join(inside))
        self._beginnings = sorted({token[:2] for token in long})

    def __call__(self, text: str) -> list[str]:
        """The pieces of a text, in order; most texts are one."""
        if not any(beginning in text for beginning in self._beginnings):
            return [text]
        return self._inside.split(text)


class TextEncoder:
    """The tokenizer in a corpus directory; `eos_id` ends its documents."""

    def __init__(self, path: Path, eos_id: int) -> None:
        """`path` is the `tokenizer.json`."""
        self.tokenizer = _C.Tokenizer(path)
        self.eos_id = eos_id
        special = [token["content"] for token in read_json(path).get("added_tokens", []) if token["special"]]
        self._cut_text = SpecialCuts(special)
        self._cut_chat = SpecialCuts(token for token in special if token not in SPECIAL_TOKENS)
        self.partial_bytes = _partial_bytes(self.tokenizer)

    def __call__(self, documents: list[Document]) -> list[npt.NDArray[np.uint32]]:
        """The tokens of each document, the end-of-text token not included."""
        pieces = [
            (self._cut_chat if document.kind == "chat" else self._cut_text)(document.text) for document in documents
        ]
        encoded = iter(self.tokenizer.encode_batch([piece for group in pieces for piece in group], threads=1))
        return [
            next(encoded) if len(group) == 1 else np.concatenate([next(encoded) for _ in group]) for group in pieces
        ]


def _partial_bytes(tokenizer: _C.Tokenizer) -> npt.NDArray[np.int64]:
    """Per id, how many bytes it stands for if it is a piece of a character, or 0 where it is whole ones."""
    sizes = np.zeros(tokenizer.vocab_size, np.int64)
    for number in range(tokenizer.vocab_size):
        token = tokenizer.token_bytes(number)
        try:
            token.decode()
        except UnicodeDecodeError:
            sizes[number] = len(token)
    return sizes
