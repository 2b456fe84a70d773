"""The tokenizer of a corpus: trained on it, or an existing one taken as it is or pruned to a smaller vocabulary.

    make.py        the stage: which of the three, and what was made
    train.py       byte-level BPE, with the frequent characters of every script as tokens (characters.py)
    existing.py    another model's tokenizer.json; prune.py leaves out what this corpus does not need
    encoder.py     encoding documents, so that no text spells a special token
    fertility.py   how many tokens a text takes, by language and for code

Everything ends as a Hugging Face `tokenizer.json` that castline's C++ encoder, transformers and llama.cpp read alike.
"""
