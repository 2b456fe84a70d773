r"""Labelled data for two example classifiers, made from real text: is it fluent, and does it advertise?

    python recipes/demo/fetch.py .demo/data
    python recipes/classifiers/examples.py --out .demo/classifiers \
        .demo/data/english/django .demo/data/chinese/newspaper.jsonl

Writes `fluency-train.jsonl`, `fluency-evaluate.jsonl`, `advertisement-train.jsonl` and `advertisement-evaluate.jsonl`.
The good documents are passages of the texts as they are. The bad ones are other passages, damaged: for fluency, words
(in Chinese, characters) are shuffled, dropped, repeated or taken from elsewhere; for advertisement, sales talk is woven
in, of which evaluation has sentences that training has not. Passages of one text are on one side only.

This shows the way, not the goal: for a crawl, label some hundred of its own documents and add them.
"""

import argparse
import hashlib
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

PASSAGE = (300, 1500)  # characters
PASSAGES_PER_TEXT = 6
UNITS = re.compile(r"[\u4e00-\u9fff]|[^\s\u4e00-\u9fff]+|\s+")
SENTENCE_END = re.compile(r"(?<=[.!?]) |(?<=[。！？])|\n+")

Damage = Callable[[str, random.Random], str]


def read_texts(path: Path) -> Iterator[str]:
    """The texts in a jsonl file, a text file, or all text files below a folder."""
    if path.is_dir():
        for file in sorted(path.rglob("*.txt")):
            yield file.read_text("utf-8")
    elif path.suffix == ".jsonl":
        with path.open(encoding="utf-8") as lines:
            yield from (json.loads(line)["text"] for line in lines)
    else:
        yield path.read_text("utf-8")


def passages(text: str) -> list[str]:
    """Pieces of whole sentences from a text, evenly spread over it."""
    found, begun = [], ""
    for sentence in SENTENCE_END.split(text):
        begun += sentence.strip() + ("" if "\u4e00" <= sentence[-1:] <= "\uffff" else " ")
        if len(begun) >= PASSAGE[0]:
            found.append(begun.strip()[: PASSAGE[1]])
            begun = ""
    return found[:: max(1, len(found) // PASSAGES_PER_TEXT)][:PASSAGES_PER_TEXT]


def break_fluency(text: str, rng: random.Random) -> str:
    """The passage with words out of place, missing, repeated or foreign, in one of these ways."""
    units = list(UNITS.findall(text))
    words = [at for at, unit in enumerate(units) if not unit.isspace()]
    way = rng.choice(("shuffle", "drop", "repeat", "swap"))
    if way == "shuffle":
        window = rng.randint(6, 20)
        for start in range(0, len(words), window):
            here = words[start : start + window]
            for at, unit in zip(here, rng.sample([units[at] for at in here], len(here)), strict=True):
                units[at] = unit
    share = rng.uniform(0.25, 0.5)
    for at in rng.sample(words, int(share * len(words))):
        if way == "drop":
            units[at] = ""
        elif way == "repeat":
            units[at] = f"{units[at]} {units[at]}" if units[at].isascii() else units[at] * 2
        elif way == "swap":
            units[at] = units[rng.choice(words)]
    return "".join(units)


def sales_talk(language: str, side: int) -> list[str]:
    """The sentences for training (side 0), or the others for evaluation (side 1)."""
    lines = (Path(__file__).parent / f"sales_{language}.txt").read_text("utf-8").splitlines()
    return [line for number, line in enumerate(lines) if (number % 3 == 2) == bool(side)]


def advertiser(english: list[str], chinese: list[str]) -> Damage:
    """Weaves some of these sentences into a passage."""

    def advertise(text: str, rng: random.Random) -> str:
        is_chinese = sum("\u4e00" <= character <= "\u9fff" for character in text) > len(text) / 4
        sentences = [one for one in SENTENCE_END.split(text) if one]
        names = re.findall(r"[\u4e00-\u9fff]{2,4}" if is_chinese else r"[A-Za-z]{5,}", text) or ["everything"]
        for pitch in rng.sample(chinese if is_chinese else english, rng.randint(1, 3)):
            phone = f"{rng.randint(200, 999)}-{rng.randint(200, 999)}-{rng.randint(1000, 9999)}"
            filled = pitch.format(
                thing=rng.choice(names), percent=rng.randrange(5, 95, 5), price=rng.randint(5, 999), phone=phone
            )
            sentences.insert(rng.randint(0, len(sentences)), filled)
        return ("" if is_chinese else " ").join(sentences)

    return advertise


def write_labelled(path: Path, texts: list[str], good: str, bad: str, damage: Damage) -> None:
    """Every other passage as it is, the others damaged."""
    rng = random.Random(path.name)
    with path.open("w", encoding="utf-8") as file:
        for number, piece in enumerate(piece for text in texts for piece in passages(text)):
            record = {"text": damage(piece, rng), "label": bad} if number % 2 else {"text": piece, "label": good}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def main() -> None:
    """Write the four files."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("texts", type=Path, nargs="+", help="jsonl, text files, or folders of .txt")
    options.add_argument("--out", type=Path, required=True, help="the folder to write into")
    chosen = options.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    sides: tuple[list[str], list[str]] = ([], [])
    for path in chosen.texts:
        for text in read_texts(path):
            sides[hashlib.sha256(text.encode()).digest()[0] % 4 == 0].append(text)
    for side, texts in enumerate(sides):
        name = ("train", "evaluate")[side]
        advertise = advertiser(*(sales_talk(language, side) for language in ("en", "zh")))
        write_labelled(chosen.out / f"fluency-{name}.jsonl", texts, "fluent", "broken", break_fluency)
        write_labelled(chosen.out / f"advertisement-{name}.jsonl", texts, "ordinary", "advertisement", advertise)


if __name__ == "__main__":
    main()
