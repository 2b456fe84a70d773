"""The command line in a process of its own, and a small recipe over real text."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CHINESE = (
    "清晨，小镇的街道还很安静，面包店的老板已经打开了门。他把昨天晚上准备好的面团放进炉子里，"
    "不久整条街都闻到了香味。第{}位客人是一位老人，他每天都在这个时候来，买两个面包和一杯热茶，"
    "然后坐在窗边看报纸。他说，这是他一天里最喜欢的时刻，因为一切都是新的。"
)

RECIPE = """
seed = 7
[[sources]]
name = "docs"
path = "docs/*.txt"
language = "en"
[[sources]]
name = "chinese"
path = "chinese.jsonl"
language = "zh"
[[sources]]
name = "code"
path = "code"
kind = "code"
[dedup]
near = false
[split]
held_out = 0.1
[tokenizer]
vocab_size = 640
[model]
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
max_position_embeddings = 128
tie_word_embeddings = true
[train]
data = "corpus"
steps = 6
sequence_length = 64
batch_size = 4
micro_batch_size = 2
evaluate_every = 3
evaluate_tokens = 512
checkpoint_every = 3
threads = 1
[compile]
verify_tokens = 128
"""


@dataclass(frozen=True)
class Result:
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        assert self.code == 0, self.err
        value: dict[str, Any] = json.loads(self.out)
        return value


Castline = Callable[..., Result]
