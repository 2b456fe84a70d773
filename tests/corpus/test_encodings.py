"""Encodings are told from the bytes; what is not sure is refused, never guessed."""

import contextlib
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castline.corpus import sources
from castline.corpus.config import Source
from castline.corpus.documents import Reason, Reject, UnreadableError
from castline.corpus.readers.encodings import decode
from castline.corpus.readers.read import read_files
from castline.corpus.sources import make_tasks

from .conftest import CHINESE
from .samples import reasons, texts, whole
from .test_readers import only_document, only_reject, read_bytes

TRADITIONAL = [
    "清晨的市集已經很熱鬧了，賣菜的老人把一筐筐新鮮的蔬菜擺在路邊，有說有笑地招呼著來來往往的鄰居。",
    "我們在設計這個系統的時候，首先考慮的是資料的來源和品質，沒有可靠的資料，再複雜的模型也學不到有用的東西。",
]
JAPANESE = [
    "朝の市場はもうとてもにぎやかです。野菜を売るおじいさんが、新鮮な野菜を道ばたに並べて、通りかかる人に声をかけています。",
    "このシステムを設計するとき、最初に考えたのはデータの出所と品質でした。信頼できるデータがなければ、モデルは何も学べません。",
]
KOREAN = [
    "아침 시장은 벌써 아주 붐빕니다. 채소를 파는 할아버지가 신선한 채소를 길가에 늘어놓고 이웃에게 인사를 건넵니다.",
    "가장 먼저 생각한 것은 데이터의 출처와 품질이었습니다. 믿을 수 있는 데이터가 필요합니다.",
]
RUSSIAN = [
    "Утром на рынке уже очень оживлённо: старик раскладывает у дороги свежие овощи и здоровается с соседями.",
    "Когда мы проектировали эту систему, мы прежде всего думали о происхождении и качестве данных.",
]
GERMAN = [
    "Schon früh am Morgen herrscht auf dem Markt großes Gedränge; ein älterer Händler begrüßt seine Nachbarn höflich.",
    "Für die Prüfung der Maßstäbe müssen wir wissen, woher die Texte kommen und wie gut sie tatsächlich sind.",
]
FRENCH = [
    "Dès le matin, le marché est très animé : un vieil homme étale ses légumes près de la forêt et salue ses voisins.",
    "Où que l’on regarde, la qualité des données a été vérifiée ; à défaut, le modèle n’apprend rien d’utile.",
]
POLISH = [
    "Wczesnym rankiem na targu panuje już ożywiony ruch; sędziwy sprzedawca układa świeże warzywa i żartuje.",
    "Gdy projektowaliśmy ten system, najważniejsze było źródło i jakość danych, bo bez nich się nie nauczy.",
]
TEXTS = [
    *[(name, CHINESE) for name in ("utf-8", "gb18030", "utf-16", "utf-16-le", "utf-16-be", "utf-32")],
    *[(name, TRADITIONAL) for name in ("big5", "utf-16-le")],
    *[(name, JAPANESE) for name in ("shift_jis", "euc_jp", "utf-16-be")],
    *[(name, KOREAN) for name in ("euc_kr", "utf-8-sig")],
    *[(name, RUSSIAN) for name in ("cp1251", "koi8-r", "utf-16-le")],
    *[("cp1252", GERMAN), ("iso8859-1", GERMAN), ("cp1252", FRENCH), ("iso8859-2", POLISH), ("cp1250", POLISH)],
]


@pytest.mark.parametrize(("encoding", "texts"), TEXTS)
def test_texts_in_many_encodings(encoding: str, texts: list[str]) -> None:
    text = "\n".join(texts) + "\nAnd some English: 100 %.\n"
    assert decode(text.encode(encoding))[0] == text


@given(chosen=st.sampled_from(TEXTS), start=st.integers(0, 40), length=st.integers(64, 150))
def test_a_part_of_a_text_is_right_or_refused(chosen: tuple[str, list[str]], start: int, length: int) -> None:
    encoding, texts = chosen
    text = "".join(texts)[start : start + length]
    with contextlib.suppress(UnreadableError):
        assert decode(text.encode(encoding))[0] == text


def test_two_encodings_in_one_file_are_refused() -> None:
    pairs = [
        ("utf-8", CHINESE),
        ("gb18030", CHINESE),
        ("big5", TRADITIONAL),
        ("shift_jis", JAPANESE),
        ("cp1251", RUSSIAN),
    ]
    for (first, some), (second, others) in itertools.permutations(pairs, 2):
        data = "\n".join(some).encode(first) + b"\n" + "\n".join(others).encode(second)
        with pytest.raises(UnreadableError, match="the encoding is not sure") as caught:
            decode(data)
        assert caught.value.at.startswith("byte "), (first, second)


@given(data=st.binary(max_size=400))
def test_any_bytes_are_text_or_refused(data: bytes) -> None:
    with contextlib.suppress(UnreadableError):
        assert isinstance(decode(data)[0], str)


def test_the_recipe_may_name_it(tmp_path: Path) -> None:
    data = TRADITIONAL[0][:4].encode("big5")
    assert only_reject(read_bytes(tmp_path, "a.txt", data)).reason == Reason.UNKNOWN_ENCODING
    document = only_document(read_bytes(tmp_path, "a.txt", data, encoding="big5"))
    assert (document.text, document.metadata["encoding"]) == (TRADITIONAL[0][:4], "big5")
    line = b'{"text": "' + CHINESE[0].encode("gb18030") + b'"}\n'
    assert only_reject(read_bytes(tmp_path, "a.jsonl", line)).reason == Reason.BROKEN_JSON
    assert only_document(read_bytes(tmp_path, "a.jsonl", line, encoding="gb18030")).text == CHINESE[0]
    wrong = only_reject(read_bytes(tmp_path, "b.txt", b"caf\xe9", encoding="ascii"))
    assert (wrong.reason, wrong.where) == (Reason.UNKNOWN_ENCODING, "b.txt (byte 3)")


def test_a_page_may_declare_it(tmp_path: Path) -> None:
    page = f'<html><head><meta charset="gbk"></head><body><p>{CHINESE[1]}</p></body></html>'
    document = only_document(read_bytes(tmp_path, "a.html", page.encode("gb18030")))
    assert (document.text, document.metadata["encoding"]) == (CHINESE[1], "gb18030")
    false = page.replace("gbk", "shift_jis")
    assert only_document(read_bytes(tmp_path, "b.html", false.encode("gb18030"))).text == CHINESE[1]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_json_lines_in_wide_encodings(tmp_path: Path, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.dumps({"text": f"第{n}行\u0a0a 𠀀 a" * n}, ensure_ascii=False) for n in range(1, 40)]
    lines[7] = '{"text": "no end'
    lines[9] = ""
    expected = [json.loads(line)["text"] for at, line in enumerate(lines) if at not in (7, 9)]
    (tmp_path / "a.jsonl").write_bytes("\n".join(lines).encode(encoding))
    for named in ("auto", encoding):
        found = whole(tmp_path, "a.jsonl", encoding=named)
        assert texts(found) == expected
        assert [record.where for record in found if isinstance(record, Reject)] == ["a.jsonl:8"]
    monkeypatch.setattr(sources, "PIECE_BYTES", 500)
    tasks = make_tasks((Source(name="s", path="a.jsonl"),), tmp_path)
    assert len(tasks) > 3
    assert [record for task in tasks for record in read_files(task.source, task.files)] == found
    (tmp_path / "a.jsonl").write_bytes("\n".join(lines).encode(encoding)[:-1])
    cut = whole(tmp_path, "a.jsonl")
    assert texts(cut) == expected[:-1]
    assert reasons(cut)[-1] == Reason.CORRUPT


def test_marks_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe" + "marked".encode("utf-16-le"))
    (tmp_path / "b.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "marked"}\n')
    for name, encodings in (("a.txt", ["auto", "utf-16", "utf-16-le"]), ("b.jsonl", ["auto", "utf-8", "utf-8-sig"])):
        for encoding in encodings:
            assert texts(whole(tmp_path, name, encoding=encoding)) == ["marked"], encoding
