"""The C++ tokenizer gives the ids of Hugging Face tokenizers, for every known splitting pattern."""

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from castline import _C

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
SAMPLES = [
    "",
    " ",
    "Hello world's 1234 times,  \n\n  it'LL do!\r\n",
    "中文字符，测试。\u3000全角",
    "café naïve 👩‍👩‍👧 x'ſ",
    "a" * 5000,
    "<|endoftext|>text<|endoftext|>",
]


def train(pre_tokenizer: pre_tokenizers.PreTokenizer) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SAMPLES * 3, trainer)
    return tokenizer


@pytest.mark.parametrize(
    "pre_tokenizer",
    [
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.ByteLevel(add_prefix_space=True),
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        ),
    ],
    ids=["gpt2", "gpt2-prefix", "llama3"],
)
def test_ids_are_those_of_hugging_face(pre_tokenizer: pre_tokenizers.PreTokenizer) -> None:
    theirs = train(pre_tokenizer)
    ours = _C.Tokenizer.from_json(theirs.to_str())
    for text in SAMPLES:
        assert ours.encode(text).tolist() == theirs.encode(text).ids
