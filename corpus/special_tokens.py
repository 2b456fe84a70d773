"""The special tokens of every tokenizer that castline trains."""

END_OF_TEXT = "<|endoftext|>"
IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, IM_START, IM_END)


def reserved_token(number: int) -> str:
    """The name of a token that pads the vocabulary and may be given a meaning later."""
    return f"<|reserved_{number}|>"
