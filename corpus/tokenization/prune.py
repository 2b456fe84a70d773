"""A smaller vocabulary out of an existing one: the tokens that this corpus uses, with all that they are merged from.

A token is worth the times it occurs plus the times it is a part of one that does, so parts come before what is
made of them. A text whose tokens all stay is cut into the same tokens as before: BPE never undoes a merge, so every
merge it made leads to one of them, and is kept with its place in the order.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from castline import _C
from castline.corpus.special_tokens import reserved_token
from castline.corpus.tokenization.train import MULTIPLE, added_token, byte_symbols
from castline.errors import DataError


def count_tokens(tokenizer: _C.Tokenizer, texts: Iterable[str]) -> npt.NDArray[np.int64]:
    """How often each token occurs in the texts: shape [vocab_size]."""
    counts = np.zeros(tokenizer.vocab_size, np.int64)
    for text in texts:
        found, times = np.unique(tokenizer.encode(text), return_counts=True)
        counts[found] += times
    return counts


def prune(
    values: dict[str, Any], counts: npt.NDArray[np.int64], vocab_size: int
) -> tuple[dict[str, Any], list[int | None]]:
    """Prune the `values` of a `tokenizer.json` to `vocab_size` tokens, rounded up to a multiple of 128.

    Args:
        values: are not changed.
        counts: how often each id occurs.
        vocab_size: at least what the bytes and special tokens take.

    Returns:
        The new values, and the old id of every new one (None: a reserved token that fills up).

    Raises:
        DataError: the vocabulary is not larger than that, or that is too small.
    """
    vocabulary: dict[str, int] = values["model"]["vocab"]
    added = {token["content"]: token["id"] for token in values.get("added_tokens", [])}
    size = -(-vocab_size // MULTIPLE) * MULTIPLE
    total = len(vocabulary.keys() | added.keys())
    always = [*added, *(symbol for symbol in byte_symbols().values() if symbol in vocabulary)]
    if not len(set(always)) <= size < total:
        raise DataError(
            f"expected tokenizer.vocab_size below the existing tokenizer's {total:,} and at least {len(set(always)):,} "
            f"(bytes and special tokens), but got {vocab_size:,}"
        )
    merges = [_parts(merge) for merge in values["model"]["merges"]]
    kept = _choose(vocabulary, merges, counts, set(always), size)
    ids = {**vocabulary, **added}
    order = sorted(kept, key=lambda token: ids[token])
    new = {token: number for number, token in enumerate(order)}
    reserved = [reserved_token(number) for number in range(size - len(order))]
    entries = [{**token, "id": new[token["content"]]} for token in values.get("added_tokens", [])]
    entries += [added_token(len(order) + number, name) for number, name in enumerate(reserved)]
    model = {
        **values["model"],
        "vocab": {token: new[token] for token in order if token in vocabulary},
        "merges": [[left, right] for left, right in merges if {left, right, left + right} <= new.keys()],
    }
    processor = _renumbered(values.get("post_processor"), new)
    pruned = {**values, "added_tokens": entries, "model": model, "post_processor": processor}
    return pruned, [*(ids[token] for token in order), *(None for _ in reserved)]


def _choose(
    vocabulary: dict[str, int],
    merges: list[tuple[str, str]],
    counts: npt.NDArray[np.int64],
    always: set[str],
    size: int,
) -> set[str]:
    """The `size` tokens worth most, closed under the parts of every merge that makes one of them."""
    parts: defaultdict[str, set[str]] = defaultdict(set)
    worth = {token: int(counts[number]) for token, number in vocabulary.items()}
    for left, right in reversed(merges):
        made = left + right
        parts[made] |= {left, right}
        for part in {left, right}:
            worth[part] += worth[made]
    kept = set(always)
    for token in sorted(vocabulary, key=lambda token: (-worth[token], vocabulary[token])):
        needed = _with_parts(token, parts, kept)
        if len(kept) + len(needed) <= size:
            kept |= needed
    return kept


def _with_parts(token: str, parts: dict[str, set[str]], kept: set[str]) -> set[str]:
    """The token and what it is made of, as far as that is not kept yet."""
    needed: set[str] = set()
    todo = [token]
    while todo:
        one = todo.pop()
        if one not in kept and one not in needed:
            needed.add(one)
            todo.extend(parts.get(one, ()))
    return needed


def _parts(merge: Any) -> tuple[str, str]:
    """The parts of a merge, written ["a", "b"] or, in older files, "a b"."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _renumbered(processor: Any, new: dict[str, int]) -> Any:
    """A post-processor with the new ids of the special tokens it puts around a text."""
    if not isinstance(processor, dict):
        return processor
    result = dict(processor)
    if processor["type"] == "Sequence":
        result["processors"] = [_renumbered(one, new) for one in processor["processors"]]
    elif processor["type"] == "TemplateProcessing":
        result["special_tokens"] = {
            name: {**token, "ids": [new[content] for content in token["tokens"]]}
            for name, token in processor["special_tokens"].items()
        }
    elif processor["type"] in ("BertProcessing", "RobertaProcessing"):
        result |= {end: [processor[end][0], new[processor[end][0]]] for end in ("sep", "cls")}
    return result
