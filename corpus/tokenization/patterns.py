"""How text is cut into the pieces that tokens stay inside.

Each combination is one that models in circulation use, so transformers and llama.cpp know it (llama.cpp calls them
dbrx, qwen2, gpt-2 and smollm) and castline's C++ encoder scans it by hand (csrc/tokenizer/scan.hpp).
"""

from tokenizers import Regex, pre_tokenizers

from castline.corpus.tokenization.config import DEFAULT_DIGITS, TokenizerConfig

CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DIGIT_GROUPS, SINGLE_DIGITS = r"\p{N}{1,3}", r"\p{N}"  # for the %s above
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def pre_tokenizers_of(config: TokenizerConfig) -> list[pre_tokenizers.PreTokenizer]:
    """The steps that cut text as `pattern` and `digits` ask for; bytes are not mapped yet."""
    digits = config.digits or DEFAULT_DIGITS[config.pattern]
    if config.pattern == "llama3":
        return [_split(CL100K % (SINGLE_DIGITS if digits == "single" else DIGIT_GROUPS))]
    alone = [pre_tokenizers.Digits(individual_digits=True)] if digits == "single" else []
    return [*alone, _split(GPT2)]


def _split(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(pattern), behavior="isolated")
