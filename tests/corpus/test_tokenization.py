"""Coverage of characters, digit rules, existing and pruned tokenizers, and the fertility report."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from castline import _C
from castline.corpus.build import CorpusSummary, build_corpus
from castline.corpus.documents import read_documents
from castline.corpus.shards import open_shards
from castline.corpus.tables import read_table
from castline.corpus.tokenization.characters import as_many_as_fit, byte_merges, choose_characters, count_characters
from castline.corpus.tokenization.config import TokenizerConfig
from castline.corpus.tokenization.prune import count_tokens, prune
from castline.errors import DataError, RecipeError

from .conftest import CHINESE, SOURCES, configure

HAN = re.compile("[\u4e00-\u9fff]")
TEXTS = st.lists(
    st.sampled_from([*"的了集市孩子系统记录ab 1290\n,。é龘🙂", " the", "don't", "self.", "2024", "路边", "设计这个"]),
    max_size=60,
).map("".join)


def build(data: Path, out: Path, **tokenizer: Any) -> CorpusSummary:
    return build_corpus(configure(SOURCES[:2], tokenizer=tokenizer), out, base=data)


def selected(out: Path, split: str) -> list[str]:
    """The texts of a split."""
    decided = [row for path in (out / "decisions").iterdir() for row in read_table(path).to_pylist()]
    ids = {row["id"] for row in decided if row["split"] == split}
    return [d.text for path in (out / "documents").iterdir() for d in read_documents(path) if d.id in ids]


def encoders(out: Path) -> tuple[_C.Tokenizer, Tokenizer]:
    return _C.Tokenizer(out / "tokenizer.json"), Tokenizer.from_file(str(out / "tokenizer.json"))


@pytest.fixture(scope="session")
def covered(data: Path, tmp_path_factory: pytest.TempPathFactory) -> CorpusSummary:
    """Every character of the text is a token."""
    return build(data, tmp_path_factory.mktemp("covered") / "out", vocab_size=2048, character_coverage=1.0)


@pytest.fixture(scope="session")
def trained_on(covered: CorpusSummary) -> set[str]:
    return set("".join(selected(covered.out, "train")))


@given(text=st.text(st.sampled_from(sorted(set("".join(CHINESE)))), max_size=40))
def test_covered_characters_are_never_cut(covered: CorpusSummary, trained_on: set[str], text: str) -> None:
    ours, theirs = encoders(covered.out)
    ids = ours.encode(text)
    assert ids.tolist() == theirs.encode(text).ids
    if set(text) <= trained_on:
        for number in ids.tolist():
            ours.token_bytes(number).decode()  # raises for a piece of a character


def test_coverage_is_measured(covered: CorpusSummary, data: Path, tmp_path: Path) -> None:
    assert covered.manifest["tokenizer"]["characters"]["han"]["share"] == 1.0
    less = build(data, tmp_path / "out", vocab_size=2048, character_coverage=0.9)
    found = less.manifest["tokenizer"]["characters"]["han"]
    texts = selected(less.out, "train")
    tokenizer = _C.Tokenizer(less.out / "tokenizer.json")
    han = [character for text in texts for character in HAN.findall(text)]
    single = {character for character in set(han) if len(tokenizer.encode(character)) == 1}
    assert (found["characters"], found["single_tokens"]) == (len(set(han)), len(single))
    assert found["share"] == pytest.approx(sum(character in single for character in han) / len(han))
    assert 0.9 <= found["share"] < 1.0
    with pytest.raises(DataError, match=r"raise tokenizer.vocab_size or lower tokenizer.character_coverage"):
        build(data, tmp_path / "small", vocab_size=512, character_coverage=1.0)


@given(texts=st.lists(st.text(), max_size=5), share=st.sampled_from([0.0, 0.3, 0.9, 1.0]), room=st.integers(0, 30))
def test_the_chosen_characters_make_up_the_share(texts: list[str], share: float, room: int) -> None:
    counts = count_characters(texts)
    everything = "".join(character for text in texts for character in text if ord(character) >= 0x80)
    assert counts.sum() == len(everything)
    chosen = choose_characters(counts, share)
    assert sum(character in chosen for character in everything) >= share * len(everything)
    some = as_many_as_fit(chosen, room)
    assert some == chosen[: len(some)]
    built = [left + right for left, right in byte_merges(some)]
    assert len(built) == len(set(built)) <= room
    assert {character.encode() for character in some} <= set(built)
    if len(some) < len(chosen):
        assert len(byte_merges(chosen[: len(some) + 1])) > room


@pytest.fixture(scope="session", params=["llama3 groups", "llama3 single", "gpt2 runs", "gpt2 single"])
def pieces(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    pattern, digits = request.param.split()
    out = tmp_path_factory.mktemp("digits") / "out"
    build(data, out, vocab_size=1024, pattern=pattern, digits=digits)
    return digits, out


@given(text=TEXTS)
def test_every_pattern_gives_the_ids_of_others(pieces: tuple[str, Path], text: str) -> None:
    ours, theirs = encoders(pieces[1])
    assert ours.encode(text).tolist() == theirs.encode(text).ids


def test_digits_are_cut_as_the_recipe_says(pieces: tuple[str, Path]) -> None:
    digits, out = pieces
    found = [piece.decode().strip() for piece in _C.Tokenizer(out / "tokenizer.json").pre_tokenize("in 12345 of 7")]
    expected = {"single": ["1", "2", "3", "4", "5"], "groups": ["123", "45"], "runs": ["12345"]}[digits]
    assert [piece for piece in found if piece.isdigit()] == [*expected, "7"]
    tokenizer = _C.Tokenizer(out / "tokenizer.json")
    longest = max(len(t) for n in range(1024) if (t := tokenizer.token_bytes(n).strip()).isdigit())
    assert longest <= {"single": 1, "groups": 3, "runs": 99}[digits]


def test_unknown_combinations_are_mistakes() -> None:
    with pytest.raises(RecipeError, match="digits 'single' or 'groups'"):
        configure(SOURCES, tokenizer={"digits": "runs"})
    with pytest.raises(RecipeError, match="no pattern beside path"):
        configure(SOURCES, tokenizer={"path": "t.json", "pattern": "gpt2"})


def test_an_existing_tokenizer_is_taken_as_it_is(built: CorpusSummary, data: Path, tmp_path: Path) -> None:
    """Another corpus's tokenizer, whose configuration calls `<|im_end|>` its end-of-sentence token."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "tokenizer.json").write_bytes((built.out / "tokenizer.json").read_bytes())
    (other / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "<|im_end|>"}, "padding": 1}))
    sources = [{**source, "path": str(data / source["path"])} for source in SOURCES[:2]]
    config = configure(sources, tokenizer={"path": "other/tokenizer.json"})
    summary = build_corpus(config, tmp_path / "out", base=tmp_path)
    assert (summary.out / "tokenizer.json").read_bytes() == (other / "tokenizer.json").read_bytes()
    written = json.loads((summary.out / "tokenizer_config.json").read_text())
    assert (written["eos_token"], written["padding"]) == ("<|im_end|>", 1)
    eos = built.manifest["tokenizer"]["eos_id"] + 2
    shards = open_shards(summary.out).split("train")
    assert shards.eos_id == eos
    assert all(shards.read(span.end - 1, span.end)[0] == eos for span in shards.spans())
    assert summary.manifest["tokenizer"]["origin"] == "imported"
    assert build_corpus(config, tmp_path / "out", base=tmp_path).reused
    (other / "tokenizer_config.json").write_text("{}")
    with pytest.raises(DataError, match="or a file that another table"):
        build_corpus(config, tmp_path / "out", base=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.update(added_tokens=[]), "expected a special token that ends documents"),
        (lambda values: values["model"].update(type="WordPiece"), "expected the model BPE"),
    ],
)
def test_an_existing_tokenizer_that_does_not_serve(
    built: CorpusSummary, data: Path, tmp_path: Path, change: Any, message: str
) -> None:
    values = json.loads((built.out / "tokenizer.json").read_text())
    change(values)
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match=message):
        build(data, tmp_path / "out", path=str(tmp_path / "tokenizer.json"))


@pytest.fixture(scope="session")
def pruned(built: CorpusSummary, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[CorpusSummary, Path]:
    """The fixture's tokenizer, pruned for its English and Chinese alone."""
    existing = built.out / "tokenizer.json"
    return build(data, tmp_path_factory.mktemp("pruned") / "out", path=str(existing), vocab_size=1100), existing


@given(text=TEXTS)
def test_where_tokens_survive_a_text_is_cut_as_before(pruned: tuple[CorpusSummary, Path], text: str) -> None:
    summary, existing = pruned
    before = _C.Tokenizer(existing)
    after, theirs = encoders(summary.out)
    origin = json.loads((summary.out / "tokenizer_origin.json").read_text())["old_ids"]
    ids = after.encode(text).tolist()
    assert ids == theirs.encode(text).ids
    assert after.decode(ids).decode() == text
    assert [after.token_bytes(n) for n in ids] == [before.token_bytes(origin[n]) for n in ids]
    old = before.encode(text).tolist()
    if set(old) <= set(origin):
        assert [origin[number] for number in ids] == old


def test_a_pruned_vocabulary_keeps_what_the_corpus_uses(pruned: tuple[CorpusSummary, Path]) -> None:
    summary, existing = pruned
    assert summary.manifest["tokenizer"]["vocab_size"] == 1152 == -(-1100 // 128) * 128
    assert summary.manifest["tokenizer"]["origin"] == "pruned"
    values = json.loads((summary.out / "tokenizer.json").read_text())
    vocabulary = values["model"]["vocab"]
    made = {left + right for left, right in values["model"]["merges"]}
    assert all(left in vocabulary and right in vocabulary for left, right in values["model"]["merges"])
    assert all(token in made for token in vocabulary if len(token) > 1)
    whole = next(row for row in summary.manifest["tokenizer"]["fertility"] if row["kind"] == "all")
    before = _C.Tokenizer(existing)
    texts = [d.text for path in (summary.out / "documents").iterdir() for d in read_documents(path)]
    assert whole["tokens"] <= 1.25 * sum(len(before.encode(text)) for text in texts)
    counts = count_tokens(before, texts)
    with pytest.raises(DataError, match=r"expected tokenizer.vocab_size below"):
        prune(json.loads(existing.read_text()), counts, 4096)


def test_fertility_is_what_the_tokens_say(built: CorpusSummary) -> None:
    """Recomputed from the texts, with the words of a plain definition for Chinese."""
    file = json.loads((built.out / "fertility.json").read_text())
    rows = {(row["kind"], row["language"]): row for row in file["groups"]}
    assert list(rows)[-1] == ("all", "")
    decided = [row for path in (built.out / "decisions").iterdir() for row in read_table(path).to_pylist()]
    kept = {row["id"] for row in decided if row["kept"]}
    documents = [d for path in (built.out / "documents").iterdir() for d in read_documents(path) if d.id in kept]
    tokenizer = _C.Tokenizer(built.out / "tokenizer.json")
    for kind, language in rows:
        mine = [d for d in documents if kind == "all" or (d.kind, d.language) == (kind, language)]
        row = rows[kind, language]
        tokens = [tokenizer.encode(d.text) for d in mine]
        size = sum(len(d.text.encode()) for d in mine)
        assert (row["documents"], row["bytes"]) == (len(mine), size)
        assert row["tokens"] == sum(map(len, tokens))
        assert row["bytes_per_token"] == pytest.approx(size / row["tokens"], abs=1e-6)
        assert row["tokens_per_character"] == pytest.approx(row["tokens"] / sum(len(d.text) for d in mine), abs=1e-6)
        pieces = [tokenizer.token_bytes(n) for n in np.concatenate(tokens).tolist()]
        partial = sum(len(p) for p in pieces if "\ufffd" in p.decode("utf-8", "replace"))
        assert row["pieces_of_characters"] == pytest.approx(partial / size, abs=1e-6)
    chinese = [d for d in documents if d.language == "zh"]
    words = sum(len(HAN.findall(d.text)) for d in chinese)
    assert rows["text", "zh"]["tokens_per_word"] == pytest.approx(rows["text", "zh"]["tokens"] / words, rel=0.02)


def test_the_default_leaves_room_for_words() -> None:
    assert TokenizerConfig().character_coverage is None
