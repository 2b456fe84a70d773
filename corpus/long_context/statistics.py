"""What the words of a long text say about it: how connected it is, and how much of it is numbers."""

import re
import string
from dataclasses import dataclass

_ENGLISH = """
    accordingly additionally afterwards also although because before besides but consequently conversely despite finally
    furthermore hence however indeed instead later likewise meanwhile moreover nevertheless next nonetheless nor once or
    otherwise rather similarly since so still subsequently then therefore though thus unless until whereas whereby
    whether while yet
"""
_CHINESE = """
    不但 不仅 不过 并且 从而 但是 而且 反之 否则 固然 故而 何况 还是 或者 即使 既然 继而 接着 进而 尽管 可是 况且 另外
    那么 其次 其实 然而 然后 仍然 如果 虽然 随后 所以 同时 同样 无论 相反 要么 以及 以致 因此 因而 因为 由于 于是
    与其 再者 则是 只要 只有 至于 终于 总之 最后 但 而 却 又 若 且 並且 從而 雖然 隨後 然後 儘管 無論 進而 於是
    因為 由於 總之 最後 還是 繼而 接著 終於 與其
"""
CONNECTIVES = {"en": frozenset(_ENGLISH.split()), "zh": frozenset(_CHINESE.split())}
_CHINESE_CONNECTIVE = re.compile("|".join(sorted(CONNECTIVES["zh"], key=lambda word: (-len(word), word))))
_HAN = re.compile("[\u3400-\u9fff]")
_NUMBER = re.compile(r"[^\w\s]*\d[\d\W]*")
_AROUND = string.punctuation + "“”‘’«»…—–"


@dataclass(frozen=True)
class Statistics:
    """Fractions of a text's words (a Han character is one); None where they are not defined for its language."""

    connective_fraction: float | None
    numeric_word_fraction: float


def statistics(text: str, language: str) -> Statistics:
    """Count the words of a text."""
    spaced = text.split()
    han = len(_HAN.findall(text)) if not text.isascii() else 0
    words = max(len(spaced) + han, 1)
    connectives: float | None = None
    if language == "zh":
        connectives = len(_CHINESE_CONNECTIVE.findall(text)) / words
    elif language in CONNECTIVES:
        known = CONNECTIVES[language]
        connectives = sum(word.strip(_AROUND) in known for word in text.lower().split()) / words
    return Statistics(connectives, sum(_NUMBER.fullmatch(word) is not None for word in spaced) / words)
