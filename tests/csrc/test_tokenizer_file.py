"""What a tokenizer.json may hold: each option means what it means to Hugging Face, or is refused by name."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from castline import _C
from castline.errors import DataError, DeviceError

WORDS = st.lists(
    st.sampled_from(["low", "lower", "new", "est", "é", "中", " ", "  ", "\n", "_", "<a>", "<ab>", "<", "b>"]),
    max_size=14,
).map("".join)


@pytest.fixture(scope="module")
def trained(train: Callable[[pre_tokenizers.PreTokenizer], Tokenizer]) -> Tokenizer:
    return train(pre_tokenizers.ByteLevel(add_prefix_space=False))


@pytest.fixture
def document(trained: Tokenizer) -> dict[str, Any]:
    """A tokenizer.json to change."""
    value: dict[str, Any] = json.loads(trained.to_str())
    return value


def small(**options: Any) -> Tokenizer:
    """A vocabulary without most of the byte alphabet: l, o, w, e, r, n, s, t and the space."""
    letters = [
        "l",
        "o",
        "w",
        "e",
        "r",
        "n",
        "s",
        "t",
        "Ġ",
        "lo",
        "low",
        "er",
        "lower",
        "es",
        "est",
        "new",
        "ne",
        "?",
    ]
    merges = [
        ("l", "o"),
        ("lo", "w"),
        ("e", "r"),
        ("low", "er"),
        ("e", "s"),
        ("es", "t"),
        ("n", "e"),
        ("ne", "w"),
    ]
    vocab = {token: id for id, token in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, **options))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def same_ids(tokenizer: Tokenizer, text: str) -> None:
    ours = _C.Tokenizer.from_json(tokenizer.to_str())
    assert ours.encode(text, add_special=True).tolist() == tokenizer.encode(text).ids
    assert ours.encode(text).tolist() == tokenizer.encode(text, add_special_tokens=False).ids


@given(text=WORDS, unknown=st.sampled_from([None, "?"]), fuse=st.booleans())
def test_bytes_without_a_token(text: str, unknown: str | None, fuse: bool) -> None:
    same_ids(small(unk_token=unknown, fuse_unk=fuse), text)


@given(text=WORDS)
def test_ignore_merges_takes_whole_pieces_first(text: str) -> None:
    # `new` and `lower` are reached otherwise without their merges, so the option shows.
    tokenizer = json.loads(small(ignore_merges=True).to_str())
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:2]
    same_ids(Tokenizer.from_str(json.dumps(tokenizer)), text)


def test_merges_written_as_strings(document: dict[str, Any], trained: Tokenizer) -> None:
    document["model"]["merges"] = ["#version: 0.2"] + [f"{a} {b}" for a, b in document["model"]["merges"]]
    ours = _C.Tokenizer.from_json(json.dumps(document))
    text = Path(__file__).read_text(encoding="utf-8")
    assert ours.encode(text).tolist() == trained.encode(text).ids


FLAGS = st.fixed_dictionaries(
    {flag: st.booleans() for flag in ("single_word", "lstrip", "rstrip", "normalized", "special")}
)


@given(
    text=WORDS,
    added=st.lists(
        st.tuples(st.sampled_from(["<a>", "<ab>", "low", "er", "é", "_", "中", "<", "w e"]), FLAGS),
        unique_by=lambda token: token[0],
        max_size=5,
    ),
)
def test_added_tokens(text: str, added: list[tuple[str, dict[str, bool]]]) -> None:
    tokenizer = small(unk_token="?")
    tokenizer.add_tokens([AddedToken(content, **flags) for content, flags in added])
    same_ids(tokenizer, text)


@given(text=WORDS)
def test_special_tokens_around_a_text(text: str) -> None:
    tokenizer = small()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    template = processors.TemplateProcessing(single="<s> $A:0 </s>:0 </s>", special_tokens=[("<s>", 18), ("</s>", 19)])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    same_ids(tokenizer, text)


MARKS = st.sampled_from([*map(chr, range(0x300, 0x346)), *map(chr, range(0x1100, 0x11FF, 5)), *"aeoАか가각"])


@given(text=st.one_of(st.text(max_size=8), st.lists(MARKS, max_size=8).map("".join)))
def test_nfc(text: str) -> None:
    tokenizer = small(unk_token="?")
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_tokens([AddedToken("\u00e9"), AddedToken("o\u0308"), AddedToken("\uac00", normalized=False)])
    same_ids(tokenizer, text)


def test_nfc_of_every_code_point(train: Callable[[pre_tokenizers.PreTokenizer], Tokenizer]) -> None:
    tokenizer = train(pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.normalizer = normalizers.NFC()
    # A letter before each, and a mark of a high class that others go before.
    characters = map(chr, [*range(0xD800), *range(0xE000, 0x20000), *range(0x2F800, 0x2FA20)])
    same_ids(tokenizer, "".join("a\u0345" + character for character in characters))


def test_tokens_by_id_and_by_name(trained: Tokenizer, tmp_path: Path) -> None:
    trained.save(str(tmp_path / "tokenizer.json"))
    ours = _C.Tokenizer(tmp_path / "tokenizer.json")
    assert ours.vocab_size == trained.get_vocab_size()
    for token, id in trained.get_vocab().items():
        assert ours.token_id(token) == id
        assert ours.token_bytes(id).decode("utf-8", "replace") == trained.decode([id], skip_special_tokens=False)
        assert ours.is_special(id) == (token in ("<|endoftext|>", "<|im_start|>"))
    assert ours.token_id("no such token") is None


def put(document: dict[str, Any], path: str, value: Any) -> str:
    """The document as JSON with one value changed; `path` is dotted."""
    *parents, last = path.split(".")
    at: Any = document
    for key in parents:
        at = at[int(key)] if isinstance(at, list) else at[key]
    at[int(last) if isinstance(at, list) else last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("model.type", "WordPiece", "WordPiece"),
        ("model.dropout", 0.1, "dropout"),
        ("model.byte_fallback", True, "byte_fallback"),
        ("model.continuing_subword_prefix", "##", "continuing_subword_prefix"),
        ("model.end_of_word_suffix", "</w>", "end_of_word_suffix"),
        ("model.vocab", {}, "empty"),
        ("model.vocab", [], "vocab"),
        ("model.vocab.the", -1, "-1"),
        ("model.vocab.the", 2**40, str(2**40)),
        ("model.vocab.the", 1.5, "'the'"),
        ("model.vocab.another", 5, "id of its own"),
        ("model.merges.0", ["a", "b", "c"], "3"),
        ("model.merges.0", "a b c", "'a b c'"),
        ("model.merges.0", ["no such", "token"], "'no such'"),
        ("model.unk_token", "<unk>", "unk_token"),
        ("added_tokens.0.id", 7, "<|endoftext|>"),
        ("added_tokens.0.content", "<|im_start|>", "<|im_start|>"),
        ("normalizer", {"type": "Lowercase"}, "Lowercase"),
        ("normalizer", {"type": "Sequence", "normalizers": [{"type": "NFKC"}]}, "NFKC"),
        ("pre_tokenizer", None, "ByteLevel"),
        ("pre_tokenizer", {"type": "Metaspace"}, "Metaspace"),
        ("pre_tokenizer", {"type": "Digits", "individual_digits": True}, "ByteLevel"),
        (
            "pre_tokenizer",
            {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "Digits"}]},
            "Digits",
        ),
        (
            "pre_tokenizer",
            {"type": "Split", "pattern": {"Regex": r"\w+"}, "behavior": "Isolated", "invert": False},
            r"\w+",
        ),
        (
            "pre_tokenizer",
            {"type": "Split", "pattern": {"String": " "}, "behavior": "Isolated", "invert": False},
            "regular expression",
        ),
        ("post_processor", {"type": "BertProcessing"}, "BertProcessing"),
        (
            "post_processor",
            {
                "type": "TemplateProcessing",
                "single": [
                    {"SpecialToken": {"id": "<s>", "type_id": 0}},
                    {"Sequence": {"id": "A", "type_id": 0}},
                ],
                "special_tokens": {},
            },
            "<s>",
        ),
        ("decoder", None, "decoder"),
        ("decoder", {"type": "Metaspace"}, "Metaspace"),
    ],
)
def test_what_is_not_supported_is_named(document: dict[str, Any], path: str, value: Any, named: str) -> None:
    with pytest.raises(DataError, match=r"tokenizer\.json") as caught:
        _C.Tokenizer.from_json(put(document, path, value))
    assert named in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"model": 3}', b"\xff", '{"model": {"vocab": {"a": 0}}}'])
def test_what_is_no_tokenizer(text: str | bytes) -> None:
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        _C.Tokenizer.from_json(text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"nowhere\.json"):
        _C.Tokenizer(tmp_path / "nowhere.json")


@pytest.mark.parametrize("ids", [[-1], [1500], [2**32 + 1], [0, 10**9]])
def test_decoding_an_id_that_is_no_token(trained: Tokenizer, ids: list[int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        _C.Tokenizer.from_json(trained.to_str()).decode(ids)


@pytest.mark.parametrize("ids", [[1.5], ["1"], [[1]], 3])
def test_decoding_what_are_no_ids(trained: Tokenizer, ids: Any) -> None:
    with pytest.raises(TypeError, match="integers"):
        _C.Tokenizer.from_json(trained.to_str()).decode(ids)


def test_encoding_what_is_no_text(trained: Tokenizer) -> None:
    ours = _C.Tokenizer.from_json(trained.to_str())
    with pytest.raises(TypeError, match="str or bytes, but got int"):
        ours.encode(3)  # type: ignore[arg-type]
    with pytest.raises(UnicodeEncodeError):
        ours.encode("\ud800")


@st.composite
def merge_tables(draw: st.DrawFn) -> Tokenizer:
    """The byte alphabet and merges in an order that no training gives, within and across characters."""
    written = "aÃ©ä¸Ń"  # the bytes of a, é and 中
    whole = [("Ã", "©"), ("ä", "¸"), ("ä¸", "Ń")]
    parts = st.sampled_from(["a", "Ã", "©", "Ã©", "ä", "¸", "Ń", "ä¸", "¸Ń", "ä¸Ń"])
    others = draw(st.lists(st.tuples(parts, parts), max_size=6))
    merges = draw(st.permutations(list(dict.fromkeys(whole + others))))
    tokens = dict.fromkeys([*sorted(pre_tokenizers.ByteLevel.alphabet()), *written])
    tokens |= dict.fromkeys(part for pair in merges for part in (*pair, "".join(pair)))
    tokenizer = Tokenizer(models.BPE(vocab={token: id for id, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


@settings(max_examples=400)
@given(tokenizer=merge_tables())
def test_any_order_of_merges(tokenizer: Tokenizer) -> None:
    ours = _C.Tokenizer.from_json(tokenizer.to_str())
    for length in range(1, 5):
        for characters in itertools.product("aé中", repeat=length):
            text = "".join(characters)
            assert ours.encode(text).tolist() == tokenizer.encode(text).ids
