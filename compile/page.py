"""verification.html: the proof of a package as one page to look at, without a network; the same bytes every time."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

import castline.corpus
from castline import _C
from castline.compile.frontier_picture import CHOICE, Choice, frontier_svg
from castline.compile.golden import Golden, read_golden
from castline.compile.package import GOLDEN, Manifest
from castline.compile.spread import BINS, LOWEST, WorstToken
from castline.compile.verify import BackendProof, Verification
from castline.corpus.report import format_number
from castline.files import read_json, write_text

_WIDTH, _HEIGHT, _GROUND = 240.0, 60.0, 62.0  # of a picture's plot, and where its bars stand
_BEFORE = 24  # tokens of context shown before a worst token

TextOf = Callable[[Sequence[int]], str]


@dataclass(frozen=True)
class Bar:
    """A bar of a picture."""

    x: float
    y: float
    width: float
    height: float
    beyond: bool
    label: str


def write_page(path: Path, package: Path, manifest: Manifest, verification: Verification) -> None:
    """Write the page of a package's proof, or of a proof made again.

    Args:
        path: the page
        package: the package: its tokenizer, golden tokens and choice of formats, if it has one
        manifest: its manifest
        verification: what to show

    Raises:
        PackageError: the golden file is damaged.
    """
    folders = [Path(__file__).parent, Path(castline.corpus.__file__).parent]  # the style is the corpus report's
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = format_number
    golden, text_of = read_golden(package / GOLDEN), _text_of(package, manifest)
    choice = package / CHOICE
    page = environment.get_template("verification.html.j2").render(
        verification=verification,
        failed=[name for name, proof in verification.backends.items() if proof.status == "failed"],
        backends=[_backend(name, proof, golden, text_of) for name, proof in verification.backends.items()],
        frontier=frontier_svg(Choice.model_validate(read_json(choice))) if choice.is_file() else None,
        provenance={
            **{f"origin: {name}": value for name, value in (manifest.provenance.origin or {}).items()},
            "castline": manifest.castline_version,
            **manifest.tools,
        },
    )
    write_text(path, page)


def _backend(name: str, proof: BackendProof, golden: Golden, text_of: TextOf) -> dict[str, Any]:
    spread = proof.spread
    culprit = max(proof.layers, key=lambda error: error.kl) if proof.layers else None
    return {
        "name": name,
        "proof": proof,
        "measured": proof.measured,
        "positions": _positions(spread.by_position, proof.bound) if spread else None,
        "histogram": _histogram(spread.histogram, proof.bound) if spread else None,
        "layers": _bars(
            [error.kl for error in proof.layers],
            [error is culprit for error in proof.layers],
            [f"{error.layer}: KL {error.kl:.2g}, {error.worst_tensor}" for error in proof.layers],
        ),
        "culprit": culprit,
        "worst": [_worst(token, golden, text_of) for token in spread.worst] if spread else [],
    }


def _positions(values: Sequence[float], bound: float) -> dict[str, Any]:
    """A line over positions; the bound is drawn in where it is not far above."""
    highest = max(values)
    top = max(highest, bound) if bound < 4 * highest else highest
    top = top or 1.0
    step = _WIDTH / max(len(values) - 1, 1)
    points = " ".join(f"{i * step:.1f},{_GROUND - _HEIGHT * value / top:.1f}" for i, value in enumerate(values))
    within = 0 < bound <= top
    return {"points": points, "top": top, "bound_y": round(_GROUND - _HEIGHT * bound / top, 1) if within else None}


def _histogram(counts: Sequence[int], bound: float) -> dict[str, Any]:
    at = (math.log10(bound) - LOWEST) * 2 if bound > 0 else 0.0
    beyond = [place >= at for place in range(BINS)]
    labels = [f"from 1e{LOWEST + place / 2:g}: {count} tokens" for place, count in enumerate(counts)]
    inside = 0 < at < BINS
    bars = _bars([math.sqrt(count) for count in counts], beyond, labels)  # roots, so that small groups show
    return {"bars": bars, "bound_x": round(at * _WIDTH / BINS, 1) if inside else None}


def _bars(values: Sequence[float], beyond: Sequence[bool], labels: Sequence[str]) -> list[Bar]:
    top = max(values, default=0.0) or 1.0
    width = _WIDTH / max(len(values), 1)
    bars = []
    for place, (value, marked, label) in enumerate(zip(values, beyond, labels, strict=True)):
        height = round(_HEIGHT * value / top, 1)
        x, y = round(place * width, 1), round(_GROUND - height, 1)
        bars.append(Bar(x, y, round(width * 0.85, 1), height, marked, label))
    return bars


def _worst(token: WorstToken, golden: Golden, text_of: TextOf) -> dict[str, Any]:
    before = golden.ids[token.sequence, max(0, token.position + 1 - _BEFORE) : token.position + 1].tolist()
    pairs = zip(token.checkpoint, token.backend, strict=True)
    return {
        "sequence": token.sequence,
        "position": token.position,
        "kl": token.kl,
        "before": text_of(before),
        "guesses": [
            [{"text": text_of([word.id]), "log_prob": word.log_prob} for word in (ours, theirs)]
            for ours, theirs in pairs
        ],
    }


def _text_of(package: Path, manifest: Manifest) -> TextOf:
    if manifest.tokenizer is None:
        return lambda ids: " ".join(map(str, ids))
    tokenizer = _C.Tokenizer(package / manifest.tokenizer)

    def text_of(ids: Sequence[int]) -> str:
        known = [token for token in ids if token < tokenizer.vocab_size]  # embeddings may have rows to spare
        if len(known) < len(ids):
            return " ".join(map(str, ids))
        return tokenizer.decode(known).decode(errors="replace")

    return text_of
