"""The layers of a finished TensorRT engine, read from the builder's own listing in its log.

TensorRT's engine inspector says the same, but needs a GPU that the engine loads on; the builder writes the listing
when it is done (with detailed profiling verbosity), on any machine. It is one line for each layer of each
optimisation profile, the fused kernels that will run:

    Name: …_myl0_8, LayerType: gemm, Inputs: [ { …, Datatype: FP8, … } ], Constants: [ … ], Outputs: [ … ], …
"""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from castline.files import read_json, write_json

_LINE = re.compile(r"Name: (?P<name>.+?), LayerType: (?P<kind>\w+), Inputs: (?P<inputs>.*?), Constants: (?P<rest>.*)")
_PROFILE = re.compile(r"_myl(\d+)_\d+$")
_TYPE = re.compile(r"Datatype: (\w+)")
_QUANTISED = {"Int8", "Int4", "FP8"}


@dataclass(frozen=True)
class BuiltLayer:
    """One kernel of an engine: the types of what reaches it, and of the constants that it holds."""

    name: str
    kind: str
    profile: int
    """The optimisation profile that it runs in."""
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    sources: tuple[str, ...]
    """The nodes of the ONNX graph that went into it."""

    @property
    def role(self) -> str:
        """What it does.

        "attention": one of TensorRT's own attention kernels; "product": with weights; "unpacking": turns whole
        quantised matrices into floats at every run, which products should do themselves; or "other".
        """
        if "_mha_" in self.name:
            return "attention"
        if any(source.endswith("/MatMul") for source in self.sources) and self.inputs:
            return "product"
        return "unpacking" if not self.inputs and _QUANTISED & set(self.constants) else "other"


def built_layers(log: Iterable[str]) -> list[BuiltLayer]:
    """The layers that the builder's listing names, in the order they run; none where it wrote no listing."""
    layers = []
    for message in log:
        if not message.startswith("Layers:"):
            continue
        for line in message.splitlines():
            if found := _LINE.match(line):
                constants, _, rest = found["rest"].partition("Outputs: ")
                profile = _PROFILE.search(found["name"])
                layers.append(
                    BuiltLayer(
                        name=found["name"],
                        kind=found["kind"],
                        profile=int(profile[1]) if profile else 0,
                        inputs=tuple(_TYPE.findall(found["inputs"])),
                        constants=tuple(_TYPE.findall(constants)),
                        sources=tuple(re.findall(r"\[ONNX Layer: (.+?)\]", rest)),
                    )
                )
    return layers


def write_layers(path: Path, layers: list[BuiltLayer]) -> None:
    """Write the layers of an engine as JSON."""
    write_json(path, [asdict(layer) for layer in layers])


def read_layers(path: Path) -> list[BuiltLayer]:
    """Read what `write_layers` wrote."""
    values: list[dict[str, Any]] = read_json(path)
    lists = ("inputs", "constants", "sources")
    return [BuiltLayer(**value | {key: tuple(value[key]) for key in lists}) for value in values]
