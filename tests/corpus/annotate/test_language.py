"""Languages are told on real sentences, resolve `auto`, and are bounded by rules."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from castline.corpus.annotate.config import LanguageConfig
from castline.corpus.annotate.language import SAMPLE, find_model, make_language_annotator, sample
from castline.corpus.build import build_corpus
from castline.corpus.config import CorpusConfig
from castline.corpus.documents import Document
from castline.corpus.tables import read_table
from castline.errors import DataError, DeviceError, RecipeError
from castline.recipe import parse

SENTENCES = {
    "en": "The children walked along the river until the bridge came into sight, and then they all began to run.",
    "de": "Die Kinder gingen am Fluss entlang, bis die Brücke in Sicht kam, und dann fingen sie alle an zu laufen.",
    "fr": "Les enfants marchaient le long de la rivière jusqu'à ce que le pont apparaisse, puis ils ont couru.",
    "ru": "Дети шли вдоль реки, пока не показался мост, а потом все они побежали.",
    "ja": "子どもたちは橋が見えるまで川に沿って歩き、それからみんな走り出しました。",
    "ko": "아이들은 다리가 보일 때까지 강을 따라 걸었고, 그때부터 모두 뛰기 시작했습니다.",
    "zh": "孩子们沿着河边走，直到看见那座桥，然后他们全都跑了起来。",
}


def document(text: str, kind: str = "text", language: str = "auto") -> Document:
    return Document(id=f"{len(text):032x}", source="web", kind=kind, language=language, path="a", record=0, text=text)


def test_sentences_are_told_apart() -> None:
    annotator = make_language_annotator(LanguageConfig(), {}, Path())
    assert annotator is not None
    annotation = annotator.annotate([document(text) for text in SENTENCES.values()])
    assert annotation.values["detected_language"] == list(SENTENCES)
    assert [one.language for one in annotation.documents] == list(SENTENCES)
    assert all(0.5 < score <= 1 for score in annotation.values["language_score"])


def test_a_given_language_stays_and_code_is_not_looked_at() -> None:
    annotator = make_language_annotator(LanguageConfig(), {"web": ["en"]}, Path())
    assert annotator is not None
    given = [document(SENTENCES["de"], language="en"), document(SENTENCES["en"], kind="code", language="python")]
    annotation = annotator.annotate(given)
    assert annotation.documents == given
    assert annotation.values["detected_language"] == ["de", None]
    assert annotation.values["language_allowed"] == [0, None]
    assert annotation.values["language_score"][1] is None


@pytest.mark.parametrize("text", ["\n\n \t", "\0\0", "…", "\u2028"])
def test_texts_without_words_do_no_harm(text: str) -> None:
    annotator = make_language_annotator(LanguageConfig(), {}, Path())
    assert annotator is not None
    (score,) = annotator.annotate([document(text)]).values["language_score"]
    assert 0 <= score <= 1


def test_a_sample_is_the_beginning_the_middle_and_the_end() -> None:
    text = "a" * 5000 + "b" * 5000 + "c" * 5000
    assert sample(text) == "a" * SAMPLE + "\n" + "b" * SAMPLE + "\n" + "c" * SAMPLE
    assert sample("short") == "short"


def build(folder: Path, out: str, **tables: Any) -> pa.Table:
    """Build a corpus of the sentences, eight of each; returns the measurements, with the rule that decided."""
    lines = [{"text": " ".join([text] * 3) + f" {n}"} for text in SENTENCES.values() for n in range(8)]
    (folder / "web.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    source = {"name": "web", "path": "web.jsonl", **tables.pop("source", {})}
    off = {name: {"enabled": False} for name in ("gopher_quality", "gopher_repetition", "chinese_quality")}
    values = {
        "sources": [source],
        "dedup": {"near": False},
        "tokenizer": {"vocab_size": 384},
        **tables,
        "rules": {**off, **tables.get("rules", {})},
    }
    build_corpus(parse(CorpusConfig, values, "recipe.toml"), folder / out, base=folder)
    parts = [read_table(folder / out / name / "000000-000000.parquet") for name in ("measurements", "decisions")]
    return parts[0].append_column("rule", parts[1]["rule"])


def test_rules_keep_the_listed_languages(tmp_path: Path) -> None:
    table = build(tmp_path, "out", source={"languages": ["en", "zh"]}).to_pylist()
    assert {row["language"] for row in table} == set(SENTENCES)
    fates = {row["language"]: row["rule"] for row in table}
    assert fates == {name: "" if name in ("en", "zh") else "language.allowed" for name in SENTENCES}


def test_rules_bound_the_score(tmp_path: Path) -> None:
    table = build(tmp_path, "out").to_pylist()
    low = min(row["language_score"] for row in table)
    again = build(tmp_path, "again", rules={"language": {"score": {"min": low + 1e-6}}}).to_pylist()
    assert {row["rule"] for row in again if row["language_score"] == low} == {"language.score"}


def test_without_a_model_han_characters_tell_chinese(tmp_path: Path) -> None:
    table = build(tmp_path, "out", language={"detect": False})
    assert "language_score" not in table.column_names
    rows = table.to_pylist()
    assert {row["language"] for row in rows} == {"zh", "en"}
    assert rows[-1]["language"] == "zh"


def test_what_annotates_is_part_of_the_recipe(tmp_path: Path) -> None:
    build(tmp_path, "out")
    with pytest.raises(RecipeError, match=r"language\.detect: True there, False now"):
        build(tmp_path, "out", language={"detect": False})


def test_a_model_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "model.ftz").write_text("not a model")
    with pytest.raises(DataError, match=r"model\.ftz: expected a fastText classifier"):
        make_language_annotator(LanguageConfig(model="model.ftz"), {}, tmp_path)


def test_listed_languages_need_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert find_model(LanguageConfig(), Path()) is None
    assert make_language_annotator(LanguageConfig(), {}, Path()) is None
    with pytest.raises(DeviceError, match="source 'web' lists its languages"):
        make_language_annotator(LanguageConfig(), {"web": ["en"]}, Path())
