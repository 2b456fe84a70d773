"""Training byte-level BPE with Hugging Face tokenizers.

Ids: the 256 bytes, the covered characters with the beginnings they share (characters.py), the merges in the order they
were learnt, the special tokens, and reserved tokens up to a multiple of 128. The trainer sees characters, not
bytes: ASCII and the covered ones are its alphabet, and any other character ends a piece, as nothing is learnt of it.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from castline.corpus.special_tokens import SPECIAL_TOKENS, reserved_token
from castline.corpus.tokenization.characters import (
    ASCII,
    DEFAULT_COVERAGE,
    Counts,
    as_many_as_fit,
    byte_merges,
    choose_characters,
)
from castline.corpus.tokenization.config import TokenizerConfig
from castline.corpus.tokenization.patterns import pre_tokenizers_of
from castline.corpus.tokenization.sample import Sample
from castline.errors import DataError
from castline.progress import progress

BYTES = 256
MULTIPLE = 128
BATCH = 256
DEFAULT_SIZES = (1024, 32_768)
DEFAULT_BYTES_PER_TOKEN = 1000

Merges = list[tuple[bytes, bytes]]


def train(sample: Sample, counts: Counts, config: TokenizerConfig) -> dict[str, Any]:
    """Train on the sample, whose characters are counted, and return the values of a `tokenizer.json`.

    Raises:
        DataError: the text does not support the vocabulary asked for, or that has no room for the characters.
    """
    smallest, largest = DEFAULT_SIZES
    wanted = config.vocab_size or min(largest, max(smallest, round_down(sample.size // DEFAULT_BYTES_PER_TOKEN)))
    room = max(wanted - len(SPECIAL_TOKENS) - BYTES, 0)
    if config.character_coverage is not None:
        merges = _learn(sample, _covered(counts, config.character_coverage, room), room, config)
    else:
        frequent = choose_characters(counts, DEFAULT_COVERAGE)
        merges = _learn(sample, as_many_as_fit(frequent, room // 4), room, config)
        if len(_made(merges)) < room:  # little text: the vocabulary is not full, so more characters fit
            merges = _learn(sample, as_many_as_fit(frequent, room), room, config)
    reached = BYTES + len(_made(merges)) + len(SPECIAL_TOKENS)
    if config.vocab_size is not None and reached < wanted:
        most = round_down(reached) if reached >= 3 * MULTIPLE else reached
        raise DataError(
            f"expected text for a vocabulary of {wanted:,} tokens, but the {sample.size:,} bytes of training text "
            f"support only {reached:,}; set tokenizer.vocab_size to {most} or less, or give more text"
        )
    return _as_json(merges, config)


def _made(merges: Merges) -> list[bytes]:
    """The tokens that merges make, in order; two merges may make the same one."""
    return list(dict.fromkeys(left + right for left, right in merges))


def _covered(counts: Counts, share: float, room: int) -> list[str]:
    """The characters that make up the share of the text that the recipe asks for."""
    characters = choose_characters(counts, share)
    needed = len(byte_merges(characters))
    if needed > room:
        raise DataError(
            f"expected a vocabulary with room for {len(characters):,} characters ({needed:,} tokens), which cover "
            f"{share:g} of the text beyond ASCII, but {room:,} tokens are left beside the bytes and special tokens; "
            "raise tokenizer.vocab_size or lower tokenizer.character_coverage"
        )
    return characters


def _learn(sample: Sample, characters: list[str], room: int, config: TokenizerConfig) -> Merges:
    """Merges that make at most `room` tokens: those that build the characters, and those learnt on the sample."""
    built = byte_merges(characters)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(pre_tokenizers_of(config))
    alphabet = [chr(point) for point in range(ASCII)] + characters
    with progress("training the tokenizer", sample.size, "B") as advance:
        tokenizer.train_from_iterator(
            _batches(sample, characters, advance),
            trainers.BpeTrainer(
                vocab_size=len(alphabet) + room - len(built),
                min_frequency=config.min_frequency,
                initial_alphabet=alphabet,
                limit_alphabet=len(alphabet),
                show_progress=False,
            ),
        )
    learnt = json.loads(tokenizer.to_str())["model"]["merges"]
    return [*built, *((left.encode(), right.encode()) for left, right in learnt)]


def _batches(sample: Sample, characters: list[str], advance: Any) -> Iterator[list[str]]:
    foreign = re.compile(f"[^\\x00-\\x7f{''.join(map(re.escape, characters))}]+")
    batch: list[str] = []
    for text in sample.texts():
        batch.extend([text] if text.isascii() else foreign.split(text))
        advance(len(text) if text.isascii() else len(text.encode()))
        if len(batch) >= BATCH:
            yield batch
            batch = []
    yield batch


def _as_json(merges: Merges, config: TokenizerConfig) -> dict[str, Any]:
    """The values of a `tokenizer.json` with these merges, special tokens, and reserved ones up to a multiple of 128."""
    symbols = byte_symbols()

    def written(token: bytes) -> str:
        return "".join(symbols[byte] for byte in token)

    tokens = [*sorted(symbols.values()), *map(written, _made(merges))]
    reserved = -(len(tokens) + len(SPECIAL_TOKENS)) % MULTIPLE
    names = [*SPECIAL_TOKENS, *(reserved_token(number) for number in range(reserved))]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    shell = Tokenizer(models.BPE())
    shell.pre_tokenizer = pre_tokenizers.Sequence([*pre_tokenizers_of(config), byte_level])
    shell.decoder = decoders.ByteLevel()
    values: dict[str, Any] = json.loads(shell.to_str())
    values["model"]["vocab"] = {token: number for number, token in enumerate(tokens)}
    values["model"]["merges"] = [[written(left), written(right)] for left, right in merges]
    values["added_tokens"] = [added_token(len(tokens) + number, name) for number, name in enumerate(names)]
    return values


def byte_symbols() -> dict[int, str]:
    """The character that byte-level BPE writes for each byte: itself where it is printable, else one from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(BYTES) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + n) for n, byte in enumerate(others)}


def added_token(number: int, content: str) -> dict[str, Any]:
    """An entry of `added_tokens`: a special token."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, **flags, "special": True}


def round_down(size: int) -> int:
    """To a multiple of 128."""
    return size // MULTIPLE * MULTIPLE
