"""The fourth stage: `tokenizer.json` and the `tokenizer_config.json` that transformers looks for.

A pruned tokenizer has a `tokenizer_origin.json` beside it: the old id of every new one, by which a model's embeddings
follow.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from castline import _C
from castline.corpus.measure import Part
from castline.corpus.special_tokens import END_OF_TEXT, IM_END, IM_START
from castline.corpus.tokenization.config import TokenizerConfig
from castline.corpus.tokenization.existing import ExistingTokenizer, existing_files_hash
from castline.corpus.tokenization.prune import count_tokens, prune
from castline.corpus.tokenization.sample import Sample
from castline.corpus.tokenization.train import train
from castline.corpus.workers import Workers
from castline.files import sha256_file, write_bytes, write_json

FORMAT = 3
FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer_origin.json")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class TokenizerInfo:
    """What was made: whence, how many ids there are, and which of them are merges and reserved."""

    origin: str  # "trained", "imported" or "pruned"
    existing_sha256: str  # of the existing tokenizer's files; empty for a trained one
    vocab_size: int
    merges: int
    reserved: int
    eos_id: int
    sample_bytes: int


def make_tokenizer(
    out: Path, parts: list[Part], config: TokenizerConfig, existing: Path | None, chat: bool, workers: Workers
) -> TokenizerInfo:
    """Train on the decided corpus in `out`, or take the existing `tokenizer.json`, and write the result into `out`.

    Args:
        out: the corpus directory.
        parts: what is selected, in order.
        config: how to train, or to what size to prune.
        existing: the absolute path behind `config.path`.
        chat: whether the corpus has chats, whose markers have to be special tokens.
        workers: to share the counting of characters.

    Raises:
        DataError: the text does not support the vocabulary asked for, or the existing tokenizer does not serve.
    """
    sample = Sample.of(out, parts, config.sample_bytes)
    for name in FILES:
        (out / name).unlink(missing_ok=True)
    if existing is None:
        origin = "trained"
        end_of_text = END_OF_TEXT
        beside: dict[str, Any] = {"pad_token": END_OF_TEXT, "chat_template": CHAT_TEMPLATE}
        values = train(sample, sample.count_characters(workers), config)
        _write(out, values)
    else:
        found = ExistingTokenizer.open(existing, config.end_of_text)
        if chat:
            found.require((IM_START, IM_END), "for the corpus's chats")
        end_of_text, beside, values = found.end_of_text, found.config, found.values
        if config.vocab_size is None:
            origin = "imported"
            write_bytes(out / "tokenizer.json", existing.read_bytes())
        else:
            origin = "pruned"
            values, old_ids = prune(values, count_tokens(found.tokenizer, sample.texts()), config.vocab_size)
            _write(out, values)
            write_json(out / "tokenizer_origin.json", {"sha256": sha256_file(existing), "old_ids": old_ids})
    defaults = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    write_json(out / "tokenizer_config.json", {**defaults, **beside, "eos_token": end_of_text})
    tokenizer = _C.Tokenizer(out / "tokenizer.json")
    return TokenizerInfo(
        origin=origin,
        existing_sha256=existing_files_hash(existing),
        vocab_size=tokenizer.vocab_size,
        merges=len(values["model"]["merges"]),
        reserved=sum(token["content"].startswith("<|reserved_") for token in values["added_tokens"]),
        eos_id=next(token["id"] for token in values["added_tokens"] if token["content"] == end_of_text),
        sample_bytes=sample.size,
    )


def _write(out: Path, values: dict[str, Any]) -> None:
    text = Tokenizer.from_str(json.dumps(values)).to_str(pretty=True)
    write_bytes(out / "tokenizer.json", f"{text}\n".encode())
