"""What datatrove decides; run by the Python that has it (`make peers`), with texts and answers as JSON.

Reads `[[text, language], …]` and writes for each text: the reason why each filter drops it ("" where it does not), the
words that datatrove splits it into, those of them that it takes for symbols, and the number of sentences in each of its
lines. Of Chinese only the filter of repetition is asked.
"""

import json
import sys

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION, split_into_sentences, split_into_words

LANGUAGES = {"en": "eng_Latn", "zh": "cmn_Hani"}
FILTERS = {
    "gopher_quality": GopherQualityFilter,
    "gopher_repetition": GopherRepetitionFilter,
    "c4": C4QualityFilter,
    "fineweb": FineWebQualityFilter,
}


def main() -> None:
    filters = {
        (name, language): make(language=LANGUAGES[language])
        for name, make in FILTERS.items()
        for language in (LANGUAGES if name == "gopher_repetition" else ["en"])
    }
    answers = []
    for text, language in json.load(sys.stdin):
        reasons = {}
        for name in FILTERS:
            if (name, language) in filters:
                verdict = filters[name, language].filter(Document(text=text, id="0"))
                reasons[name] = "" if verdict is True else verdict[1]
        code = LANGUAGES[language]
        lines = {line.strip() for line in text.splitlines() if len(line.split()) >= 3} if language == "en" else set()
        sentences = {line: len(split_into_sentences(line, code)) for line in lines}
        words = split_into_words(text, code)
        symbols = sorted({word for word in words if PUNCTUATION_SET.issuperset(word)})
        answers.append({"reasons": reasons, "words": words, "symbols": symbols, "sentences": sentences})
    json.dump({"terminal": sorted(TERMINAL_PUNCTUATION), "answers": answers}, sys.stdout)


if __name__ == "__main__":
    main()
