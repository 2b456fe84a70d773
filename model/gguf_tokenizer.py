"""The tokenizer inside a GGUF file, as Hugging Face's `tokenizer.json` and `tokenizer_config.json`."""

import json
from typing import Any

from castline.corpus.tokenization.patterns import CL100K, DIGIT_GROUPS, SINGLE_DIGITS
from castline.errors import CheckpointError
from castline.model.gguf import GgufFile

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""llama.cpp's types of tokens, those that byte-level BPE has."""
NO_VOCABULARY = "no_vocab"
"""The tokenizer model of a file without a tokenizer."""
# How a byte-level tokenizer splits text before merging, by llama.cpp's name for it (`tokenizer.ggml.pre`).
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_BYTES_ONLY = _BYTE_LEVEL | {"use_regex": False}
_DIGITS = {"type": "Digits", "individual_digits": True}


def _split(pattern: str) -> dict[str, Any]:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, _BYTES_ONLY]}


PRE_TOKENIZERS: dict[str, dict[str, Any]] = {
    "gpt-2": _BYTE_LEVEL,
    "smollm": {"type": "Sequence", "pretokenizers": [_DIGITS, _BYTE_LEVEL]},
    "llama-bpe": _split(CL100K % DIGIT_GROUPS),
    "dbrx": _split(CL100K % DIGIT_GROUPS),
    "qwen2": _split(CL100K % SINGLE_DIGITS),
}
"""The pre-tokenizer of a `tokenizer.json` for each of llama.cpp's names."""
IGNORE_MERGES = {"llama-bpe"}
"""These take a piece that is a token as it is, without walking through the merges."""


def tokenizer_files(gguf: GgufFile, context: int) -> dict[str, bytes]:
    """The tokenizer's files by name; none where the file carries no tokenizer.

    Raises:
        CheckpointError: the tokenizer is not byte-level BPE, splits in a way that is not known, or is damaged.
    """
    kind = gguf.value("tokenizer.ggml.model", str, NO_VOCABULARY)
    if kind == NO_VOCABULARY:
        return {}
    pre = gguf.value("tokenizer.ggml.pre", str, "none")
    if kind != "gpt2" or pre not in PRE_TOKENIZERS:
        raise CheckpointError(
            f"{gguf.path}: expected a byte-level BPE tokenizer ('gpt2') that splits as one of "
            f"{', '.join(PRE_TOKENIZERS)}, but found '{kind}' with '{pre}'"
        )
    tokens, merges = _tokens(gguf), _strings(gguf, "merges")
    vocab = {token: index for index, token in enumerate(tokens)}
    if len(vocab) != len(tokens):
        raise CheckpointError(f"{gguf.path}: expected each token once in tokenizer.ggml.tokens, but found repetitions")
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(gguf, tokens),
        "normalizer": None,
        "pre_tokenizer": PRE_TOKENIZERS[pre],
        "post_processor": _post_processor(gguf, tokens),
        "decoder": _BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": pre in IGNORE_MERGES,
            "vocab": vocab,
            "merges": [_merge(gguf, merge, vocab) for merge in merges],
        },
    }
    return {"tokenizer.json": _encode(tokenizer), "tokenizer_config.json": _encode(_config(gguf, tokens, context))}


def special_id(gguf: GgufFile, name: str, vocab_size: int) -> int | None:
    """The id under `tokenizer.ggml.NAME_token_id`, or None.

    Raises:
        CheckpointError: it is no id of the vocabulary.
    """
    key = f"tokenizer.ggml.{name}_token_id"
    if key not in gguf.metadata:
        return None
    found = gguf.value(key, int)
    if not 0 <= found < vocab_size:
        raise CheckpointError(f"{gguf.path}: expected {key} to be below {vocab_size}, but found {found}")
    return found


def _tokens(gguf: GgufFile) -> list[str]:
    """All tokens but the unused ones at the end, which only fill the embeddings' rows."""
    tokens, types = _strings(gguf, "tokens"), _types(gguf)
    while types and types[-1] == UNUSED:
        types.pop()
    return tokens[: len(types)]


def _types(gguf: GgufFile) -> list[int]:
    tokens, types = _strings(gguf, "tokens"), gguf.value("tokenizer.ggml.token_type", list)
    if len(types) != len(tokens):
        raise CheckpointError(
            f"{gguf.path}: expected a type for each of the {len(tokens)} tokens, but found {len(types)}"
        )
    return list(types)


def _strings(gguf: GgufFile, name: str) -> list[str]:
    values = gguf.value(f"tokenizer.ggml.{name}", list)
    if not all(isinstance(value, str) for value in values):
        raise CheckpointError(f"{gguf.path}: expected strings in tokenizer.ggml.{name}, but found others")
    return values


def _added_tokens(gguf: GgufFile, tokens: list[str]) -> list[dict[str, Any]]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": index, "content": token, **plain, "special": kind == CONTROL}
        for index, (token, kind) in enumerate(zip(tokens, _types(gguf), strict=False))
        if kind in (CONTROL, USER_DEFINED)
    ]


def _post_processor(gguf: GgufFile, tokens: list[str]) -> dict[str, Any] | None:
    bos = special_id(gguf, "bos", len(tokens))
    if bos is None or not gguf.value("tokenizer.ggml.add_bos_token", bool, False):
        return None
    first = {"SpecialToken": {"id": tokens[bos], "type_id": 0}}
    text = [{"Sequence": {"id": part, "type_id": index}} for index, part in enumerate("AB")]
    return {
        "type": "TemplateProcessing",
        "single": [first, text[0]],
        "pair": [first, *text],
        "special_tokens": {tokens[bos]: {"id": tokens[bos], "ids": [bos], "tokens": [tokens[bos]]}},
    }


def _merge(gguf: GgufFile, merge: str, vocab: dict[str, int]) -> list[str]:
    parts = merge.split(" ")
    if len(parts) != 2 or not all(part in vocab for part in (*parts, "".join(parts))):
        raise CheckpointError(f"{gguf.path}: expected a merge of two tokens into a third, but found {merge!r}")
    return parts


def _config(gguf: GgufFile, tokens: list[str], context: int) -> dict[str, Any]:
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    for name, key in (("bos", "bos"), ("eos", "eos"), ("unknown", "unk"), ("padding", "pad")):
        found = special_id(gguf, name, len(tokens))
        if found is not None:
            config[f"{key}_token"] = tokens[found]
    config["model_max_length"] = context
    if "tokenizer.chat_template" in gguf.metadata:
        config["chat_template"] = gguf.value("tokenizer.chat_template", str)
    return config


def _encode(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
