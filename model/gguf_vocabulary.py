"""A `tokenizer.json` as the metadata of a GGUF file, for byte-level BPE that llama.cpp cuts and merges alike.

What llama.cpp would do otherwise is refused here by name: a file that is written is tokenised as it was meant.
"""

import json
from collections.abc import Mapping
from typing import Any

from castline import _C
from castline.corpus.tokenization.patterns import CL100K, DIGIT_GROUPS, GPT2, SINGLE_DIGITS
from castline.errors import CheckpointError
from castline.model.gguf_tokenizer import CONTROL, NO_VOCABULARY, NORMAL, UNUSED, USER_DEFINED
from castline.model.hf_config import SpecialTokens

_DIGITS = "every digit alone"
_GPT2_BYTES = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"  # what GPT2 is, shorter
# The steps of a pre-tokenizer and whether merges are ignored for whole tokens: llama.cpp's name for the pair.
_PRE = {
    ((GPT2,), False): "gpt-2",
    ((_GPT2_BYTES,), False): "gpt-2",
    ((_DIGITS, GPT2), False): "smollm",
    ((_DIGITS, _GPT2_BYTES), False): "smollm",
    ((CL100K % DIGIT_GROUPS,), True): "llama-bpe",
    ((CL100K % DIGIT_GROUPS,), False): "dbrx",
    ((CL100K % SINGLE_DIGITS,), False): "qwen2",
}
_STOPS = ("eos", "eot", "eom")
"""Where llama.cpp keeps tokens that end a text."""


def vocabulary_metadata(
    files: Mapping[str, bytes], vocab_size: int, special_tokens: SpecialTokens, where: str
) -> dict[str, Any]:
    """The keys `tokenizer.*` of a GGUF file.

    Args:
        files: the tokenizer's files by name; without a tokenizer.json the file has no vocabulary
        vocab_size: rows of the embeddings; those past the tokenizer's last token are marked as unused
        special_tokens: what begins and ends a text
        where: whose tokenizer it is, for messages

    Raises:
        CheckpointError: llama.cpp would tokenise otherwise, or has no place for something; the message says what.
    """
    metadata: dict[str, Any] = {f"tokenizer.ggml.{name}_token_id": found for name, found in _ids(special_tokens, where)}
    if "tokenizer.json" not in files:
        return {"tokenizer.ggml.model": NO_VOCABULARY} | metadata
    try:
        tokenizer = json.loads(files["tokenizer.json"])
        model = tokenizer["model"]
        tokens, types = _tokens(tokenizer, vocab_size, where)
        metadata |= {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": _pre(tokenizer, where),
            "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.token_type": types,
            "tokenizer.ggml.merges": [
                merge if isinstance(merge, str) else " ".join(merge)
                for merge in model["merges"]
                if not (isinstance(merge, str) and merge.startswith("#version"))
            ],
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{where}: tokenizer.json is damaged: {error!r}") from None
    metadata |= _around(files["tokenizer.json"], special_tokens, where)
    return metadata | _templates(files)


def _ids(special_tokens: SpecialTokens, where: str) -> list[tuple[str, int]]:
    if len(special_tokens.eos_ids) > len(_STOPS):
        raise CheckpointError(
            f"{where}: expected at most {len(_STOPS)} stop tokens, as a GGUF file has places for, but found "
            f"{len(special_tokens.eos_ids)}"
        )
    ids = [*zip(_STOPS, special_tokens.eos_ids, strict=False)]
    ids += [("bos", found)] if (found := special_tokens.bos_id) is not None else []
    ids += [("padding", found)] if (found := special_tokens.pad_id) is not None else []
    return ids


def _tokens(tokenizer: dict[str, Any], vocab_size: int, where: str) -> tuple[list[str], list[int]]:
    tokens = [f"[UNUSED {index}]" for index in range(vocab_size)]
    types = [UNUSED] * vocab_size
    entries = [(index, token, NORMAL) for token, index in tokenizer["model"]["vocab"].items()]
    for added in tokenizer.get("added_tokens") or []:
        for flag in ("lstrip", "rstrip", "single_word"):
            if added.get(flag):
                raise CheckpointError(
                    f"{where}: expected added tokens without '{flag}', which llama.cpp does not know, but found it on "
                    f"{added['content']!r}"
                )
        entries.append((added["id"], added["content"], CONTROL if added.get("special") else USER_DEFINED))
    for index, token, kind in entries:
        if index >= vocab_size:
            raise CheckpointError(
                f"{where}: expected token ids below {vocab_size}, the rows of the embeddings, but the tokenizer has "
                f"{token!r} at {index}; it belongs to another model"
            )
        tokens[index], types[index] = token, kind
    return tokens, types


def _pre(tokenizer: dict[str, Any], where: str) -> str:
    if tokenizer["model"].get("type", "BPE") != "BPE" or tokenizer["model"].get("byte_fallback"):
        raise CheckpointError(f"{where}: expected a byte-level BPE tokenizer, but found another one")
    if tokenizer.get("normalizer") is not None:
        raise CheckpointError(
            f"{where}: expected a tokenizer that takes text as it is, as llama.cpp does, but found the normalizer "
            f"{tokenizer['normalizer'].get('type')}"
        )
    steps = tuple(_steps(tokenizer.get("pre_tokenizer") or {}, where))
    ignoring = bool(tokenizer["model"].get("ignore_merges"))
    if (steps, ignoring) not in _PRE:
        raise CheckpointError(
            f"{where}: expected a tokenizer that cuts text in a way that llama.cpp knows (one of "
            f"{', '.join(sorted(set(_PRE.values())))}), but found {list(steps)}" + (", ignore_merges" * ignoring)
        )
    return _PRE[steps, ignoring]


def _steps(component: dict[str, Any], where: str) -> list[str]:
    """The ways of cutting, in order, each by its pattern."""
    kind = component.get("type")
    if kind == "Sequence":
        return [step for part in component["pretokenizers"] for step in _steps(part, where)]
    if kind == "ByteLevel" and not component.get("add_prefix_space", True):
        return [GPT2] if component.get("use_regex", True) else []
    if kind == "Digits" and component.get("individual_digits"):
        return [_DIGITS]
    if kind == "Split" and component["behavior"] == "Isolated" and not component.get("invert"):
        return [str(component["pattern"]["Regex"])]
    raise CheckpointError(f"{where}: expected a pre-tokenizer that llama.cpp knows, but found {component}")


def _around(tokenizer: bytes, special_tokens: SpecialTokens, where: str) -> dict[str, Any]:
    """Whether a text is given its first and its last token."""
    encoder = _C.Tokenizer.from_json(tokenizer)
    plain, whole = encoder.encode("a").tolist(), encoder.encode("a", add_special=True).tolist()
    at = next(index for index in range(len(whole)) if whole[index : index + len(plain)] == plain)
    before, after = whole[:at], whole[at + len(plain) :]
    first, last = [special_tokens.bos_id], list(special_tokens.eos_ids[:1])
    if before not in ([], first) or after not in ([], last):
        raise CheckpointError(
            f"{where}: expected a tokenizer that puts the first token {first} before a text or the stop token {last} "
            f"behind it, or nothing, as llama.cpp does, but found {before} and {after}"
        )
    return {"tokenizer.ggml.add_bos_token": before != [], "tokenizer.ggml.add_eos_token": after != []}


def _templates(files: Mapping[str, bytes]) -> dict[str, str]:
    if "chat_template.jinja" in files:
        return {"tokenizer.chat_template": files["chat_template.jinja"].decode()}
    template = json.loads(files.get("tokenizer_config.json", b"{}")).get("chat_template")
    if isinstance(template, list):  # several by name
        template = {entry["name"]: entry["template"] for entry in template}.get("default")
    return {"tokenizer.chat_template": template} if isinstance(template, str) else {}
