"""The fourth stage: a byte-level BPE tokenizer trained on the selected documents of the training split.

Hugging Face tokenizers trains it; `castline._C.Tokenizer` encodes with it. Ids: the 256 bytes, the merges in
the order they were learnt, the special tokens, and reserved tokens up to a multiple of 128. Written as
`tokenizer.json`, beside the `tokenizer_config.json` that transformers looks for.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from castline.corpus.config import TokenizerConfig
from castline.corpus.documents import Document
from castline.corpus.measure import Part
from castline.corpus.selected import selected_documents, selected_table
from castline.corpus.special_tokens import END_OF_TEXT, SPECIAL_TOKENS, reserved_token
from castline.corpus.split import TRAIN
from castline.errors import DataError
from castline.files import write_json, write_text
from castline.progress import progress

FORMAT = 1
BYTES = 256
MULTIPLE = 128
BATCH = 256
DEFAULT_SIZES = (1024, 32_768)
DEFAULT_BYTES_PER_TOKEN = 1000

# Splitting patterns as their models' files write them; llama.cpp and transformers know both.
PATTERNS = {
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
}
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class TokenizerInfo:
    """What was trained: how many ids there are, which of them are merges and reserved, and from how much text."""

    vocab_size: int
    merges: int
    reserved: int
    eos_id: int
    sample_bytes: int


def train_tokenizer(out: Path, parts: list[Part], config: TokenizerConfig) -> TokenizerInfo:
    """Train on the decided corpus in `out` and write `tokenizer.json` and `tokenizer_config.json` there.

    Raises:
        DataError: the text does not support the vocabulary asked for; says what it supports.
    """
    share, size = _sample_share(out, parts, config.sample_bytes)
    smallest, largest = DEFAULT_SIZES
    wanted = config.vocab_size or min(largest, max(smallest, _round_down(size // DEFAULT_BYTES_PER_TOKEN)))
    tokenizer = _untrained(config.pattern)
    with progress("training the tokenizer", size, "B") as advance:
        tokenizer.train_from_iterator(
            _batches(out, parts, share, advance),
            trainers.BpeTrainer(
                vocab_size=max(wanted - len(SPECIAL_TOKENS), BYTES),
                min_frequency=config.min_frequency,
                initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
                show_progress=False,
            ),
        )
    reached = tokenizer.get_vocab_size() + len(SPECIAL_TOKENS)
    if config.vocab_size is not None and reached < wanted:
        most = _round_down(reached) if reached >= 3 * MULTIPLE else reached
        raise DataError(
            f"expected text for a vocabulary of {wanted:,} tokens, but the {size:,} bytes of training text support "
            f"only {reached:,}; set tokenizer.vocab_size to {most} or less, or give more text"
        )
    values, info = _finish(json.loads(tokenizer.to_str()), size)
    write_text(out / "tokenizer.json", Tokenizer.from_str(json.dumps(values)).to_str(pretty=True) + "\n")
    write_json(
        out / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END_OF_TEXT,
            "pad_token": END_OF_TEXT,
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        },
    )
    return info


def _untrained(pattern: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERNS[pattern]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _finish(values: dict[str, Any], sample_bytes: int) -> tuple[dict[str, Any], TokenizerInfo]:
    """Add the special tokens behind the merges, and reserved ones up to a multiple of 128."""
    learnt = len(values["model"]["vocab"])
    reserved = -(learnt + len(SPECIAL_TOKENS)) % MULTIPLE
    names = [*SPECIAL_TOKENS, *(reserved_token(number) for number in range(reserved))]
    values["added_tokens"] = [
        {
            "id": learnt + number,
            "content": name,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for number, name in enumerate(names)
    ]
    info = TokenizerInfo(
        vocab_size=learnt + len(names),
        merges=learnt - BYTES,
        reserved=reserved,
        eos_id=learnt + names.index(END_OF_TEXT),
        sample_bytes=sample_bytes,
    )
    return values, info


def _sample_share(out: Path, parts: list[Part], limit: int) -> tuple[float, int]:
    """The share of training documents that holds about `limit` bytes, and how many bytes that is."""
    total = 0
    for part in parts:
        table = selected_table(out, part)
        total += int(table["bytes"].to_numpy()[np.array(table["split"].to_pylist()) == TRAIN].sum())
    return (1.0, total) if total <= limit else (limit / total, limit)


def _batches(out: Path, parts: list[Part], share: float, advance: Any) -> Iterator[list[str]]:
    batch: list[str] = []
    for part in parts:
        for document in selected_documents(out, part, TRAIN):
            if int(document.id[:13], 16) >= share * 16**13:
                continue
            batch.extend(_without_special_tokens(document))
            advance(len(document.text.encode()))
            if len(batch) >= BATCH:
                yield batch
                batch = []
    yield batch


_SPECIAL = re.compile("|".join(re.escape(token) for token in SPECIAL_TOKENS))


def _without_special_tokens(document: Document) -> list[str]:
    return _SPECIAL.split(document.text) if document.kind == "chat" else [document.text]


def _round_down(size: int) -> int:
    return size // MULTIPLE * MULTIPLE
