"""Real documents for the corpus tests, and a small corpus built from them once."""

import json
import pydoc_data.topics
import shutil
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from castline.corpus.build import CorpusSummary, build_corpus
from castline.corpus.config import CorpusConfig
from castline.recipe import parse

STDLIB = Path(sysconfig.get_path("stdlib"))
CHINESE = [
    "清晨的集市已经很热闹了。卖菜的老人把一筐筐新鲜的蔬菜摆在路边，有说有笑地招呼着来来往往的邻居。"
    "孩子们背着书包从这里走过，闻到刚出锅的油条香味，总是忍不住停下来看一看。这是小镇一天里最有生气的时候，"
    "也是许多人记忆里最温暖的画面。后来镇上修了新路，集市搬到了河的对岸，可是大家还是习惯在老地方见面。",
    "我们在设计这个系统的时候，首先考虑的是数据的来源和质量。没有可靠的数据，再复杂的模型也学不到有用的东西。"
    "因此每一份文档都要记录它是从哪里来的，经过了哪些处理，最后为什么被保留或者被丢弃。"
    "这样的记录不仅能帮助我们发现问题，也能让使用者在需要的时候追溯到最初的那一行文字。",
    "山里的秋天来得早。九月才过了一半，坡上的枫树就红了，风一吹，叶子像雨一样落下来。"
    "护林员沿着小路往上走，每隔一段就停下来，在本子上记下看到的鸟和听到的声音。他在这里工作了二十年，"
    "知道哪一棵树是哪一年种的，也知道哪一条溪水不会在冬天结冰。他说，记录是为了让后来的人不必从头开始。",
]


def configure(sources: list[dict[str, Any]], **tables: Any) -> CorpusConfig:
    return parse(CorpusConfig, {"sources": sources, **tables}, "recipe.toml")


def write_english(folder: Path) -> None:
    """The Python language reference's chapters on its statements and types: real prose, one file each."""
    folder.mkdir()
    for name, text in sorted(pydoc_data.topics.topics.items()):
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sources: English, Chinese, code with duplicates, HTML, and things that are no documents."""
    root = tmp_path_factory.mktemp("data")
    write_english(root / "english")
    with (root / "chinese.jsonl").open("w", encoding="utf-8") as file:
        for text in CHINESE:
            file.write(json.dumps({"text": text, "page": 1}, ensure_ascii=False) + "\n")
        file.write(json.dumps({"text": "太短了。"}, ensure_ascii=False) + "\n")
    code = root / "code"
    for package in ("json", "email", "logging"):
        shutil.copytree(STDLIB / package, code / package, ignore=shutil.ignore_patterns("__pycache__"))
    parser = (code / "email" / "_header_value_parser.py").read_text(encoding="utf-8")
    (code / "same.py").write_text(parser, encoding="utf-8")
    (code / "nearly_same.py").write_text(parser.replace("ValueTerminal", "Terminal"), encoding="utf-8")
    (code / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    (code / "latin.py").write_bytes("# caf\xe9\n".encode("latin-1") + "# über".encode())
    return root


SOURCES: list[dict[str, Any]] = [
    {"name": "reference", "path": "english/*.txt"},
    {"name": "chinese", "path": "chinese.jsonl", "weight": 2.0},
    {"name": "stdlib", "path": "code", "kind": "code", "weight": 0.5},
]


@pytest.fixture(scope="session")
def config() -> CorpusConfig:
    return configure(SOURCES, seed=3, tokenizer={"vocab_size": 2048}, mix={"shard_tokens": 50_000})


@pytest.fixture(scope="session")
def built(data: Path, config: CorpusConfig, tmp_path_factory: pytest.TempPathFactory) -> CorpusSummary:
    return build_corpus(config, tmp_path_factory.mktemp("corpus") / "out", base=data)
