"""The report of a corpus: one self-contained HTML page to look at, made from the manifest and the tables.

The funnel, what every rule dropped, each measurement's histogram with the threshold drawn in, samples of what was
kept and dropped, and the mixture. The same corpus gives the same bytes.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from castline.corpus.annotate.findings import EvaluationRecord, Finding, evaluation_records, findings
from castline.corpus.code.report import LanguageClasses, code_classes
from castline.corpus.config import CorpusConfig
from castline.corpus.decide import DUPLICATES
from castline.corpus.documents import read_documents
from castline.corpus.duplicates.summary import DuplicatesSummary, summarise
from castline.corpus.histogram import Histogram, histogram
from castline.corpus.histograms import histograms, title
from castline.corpus.long_context.config import LongContextConfig
from castline.corpus.long_context.select import checks, long_documents
from castline.corpus.manifest import read_account
from castline.corpus.rules.apply import PASSED
from castline.corpus.rules.rule_set import Bounds
from castline.corpus.tables import few_strings, fixed_width, read_table
from castline.files import write_text
from castline.recipe import parse

Integers = npt.NDArray[np.int64]

NAME = "report.html"
SAMPLES = 3
EXCERPT = 600
DECIDED = ("rule", "value", "threshold", "duplicate_of", "earlier_corpus")


@dataclass(frozen=True)
class Step:
    """One step of the funnel: how many records it took away, and how many were left."""

    label: str
    gone: int
    left: int


@dataclass(frozen=True)
class Sample:
    """One document as the report shows it."""

    id: str
    source: str
    path: str
    rule: str
    value: float | None
    threshold: float | None
    duplicate_of: str
    earlier_corpus: str
    excerpt: str


@dataclass(frozen=True)
class Tables:
    """What the report shows of the tables of a corpus that is decided."""

    samples: dict[str, list[Sample]]  # by rule; of what was kept under `PASSED`
    findings: list[Finding]
    duplicates: DuplicatesSummary
    evaluation_records: list[EvaluationRecord]
    histograms: dict[str, list[Histogram]]
    code: list[LanguageClasses]


def look_at_tables(out: Path, config: CorpusConfig, annotators: dict[str, Any]) -> Tables:
    """Read what the report shows and what later stages do not change: a build does it while documents are encoded.

    Args:
        out: the corpus directory.
        config: of the corpus.
        annotators: as the manifest names them.

    Raises:
        DataError: a table is missing or damaged.
    """
    manifest = {"annotators": annotators}
    return Tables(
        samples=_samples(out),
        findings=findings(out, manifest),
        duplicates=summarise(out, config.dedup.threshold),
        evaluation_records=evaluation_records(out, manifest),
        histograms=histograms(out, config, manifest),
        code=code_classes(out),
    )


def write_report(out: Path, manifest: dict[str, Any] | None = None, tables: Tables | None = None) -> Path:
    """Write `report.html` into the corpus directory and return its path.

    Args:
        out: the corpus directory.
        manifest: its manifest, where that is not written yet.
        tables: what `look_at_tables` found, where that is known.

    Raises:
        DataError: `out` holds no finished corpus, or a part of it is damaged.
    """
    manifest = read_account(out) if manifest is None else manifest
    config = parse(CorpusConfig, manifest["recipe"], f"the manifest of {out}")
    tables = tables or look_at_tables(out, config, manifest.get("annotators", {}))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = format_number
    page = environment.get_template("report.html.j2").render(
        manifest={"tokenizer": None, "mixture": None, "long_context": None, **manifest},
        funnel=funnel(manifest["totals"]),
        rules=Counter(manifest["totals"]["dropped"]).most_common(),
        findings=tables.findings,
        duplicates=tables.duplicates,
        evaluation_records=tables.evaluation_records,
        histograms=tables.histograms | _long_context_histograms(out, config),
        code=tables.code,
        code_config=config.code,
        dropped={rule: found for rule, found in tables.samples.items() if rule != PASSED},
        kept_samples=tables.samples.get(PASSED, []),
    )
    write_text(out / NAME, page)
    return out / NAME


def funnel(totals: dict[str, Any]) -> list[Step]:
    """From everything that was read to what is kept: rejects, each rule set, duplicates."""
    losses: dict[str, int] = {"rejected": sum(totals["rejected"].values())}
    for rule, count in totals["dropped"].items():
        label = "duplicates" if rule in DUPLICATES else title(rule)
        losses[label] = losses.get(label, 0) + count
    duplicates = losses.pop("duplicates", 0)
    left = totals["read"]
    steps = [Step("read", 0, left)]
    for label, gone in [*losses.items(), ("duplicates", duplicates)]:
        left -= gone
        steps.append(Step(label, gone, left))
    return steps


def format_number(value: float | None) -> str:
    """A number for people: thousands separated, fractions with three digits."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3g}"


def _samples(out: Path) -> dict[str, list[Sample]]:
    """A few documents for every rule, and of those that were kept under `PASSED`: the smallest ids."""
    smallest: dict[str, list[tuple[bytes, str, int]]] = {}
    for path in sorted((out / "decisions").glob("*.parquet")):
        table = read_table(path, ["id", "rule"])
        ids, rules = fixed_width(table["id"], "S32"), few_strings(table["rule"])
        for rule in set(rules.tolist()):
            rows = np.flatnonzero(rules == rule)
            count = SAMPLES * (4 if rule == PASSED else 1)
            found = smallest.get(rule, []) + [(ids[row], path.stem, row) for row in _smallest(ids, rows, count)]
            smallest[rule] = sorted(found)[:count]
    chosen = {(part, row) for found in smallest.values() for _, part, row in found}
    result: dict[str, list[Sample]] = {}
    for sample in _read(out, chosen):
        result.setdefault(sample.rule, []).append(sample)
    return dict(sorted(result.items()))


def _smallest(ids: npt.NDArray[np.bytes_], rows: Integers, count: int) -> list[int]:
    """The rows of the smallest ids, without sorting all."""
    if len(rows) > count:
        beginnings = ids[rows].view(">u8")[::4]
        rows = rows[beginnings <= np.partition(beginnings, count)[count]]
    return rows[np.argsort(ids[rows])[:count]].tolist()  # type: ignore[no-any-return]


def _read(out: Path, chosen: set[tuple[str, int]]) -> Iterator[Sample]:
    for part in sorted({part for part, _ in chosen}):
        rows = sorted(row for other, row in chosen if other == part)
        documents = read_documents(out / "documents" / f"{part}.jsonl.zst", set(rows))
        decisions = read_table(out / "decisions" / f"{part}.parquet", DECIDED).take(pa.array(rows)).to_pylist()
        for document, decision in zip(documents, decisions, strict=True):
            excerpt = document.text[:EXCERPT] + ("…" if len(document.text) > EXCERPT else "")
            yield Sample(
                document.id,
                document.source,
                document.path,
                decision["rule"],
                decision["value"],
                decision["threshold"],
                decision["duplicate_of"],
                decision["earlier_corpus"],
                excerpt,
            )


def _long_context_histograms(out: Path, config: CorpusConfig) -> dict[str, list[Histogram]]:
    """For every source with long documents, the histograms of their measurements with its own bounds."""
    values: dict[str, dict[tuple[str, Bounds], list[float]]] = {}
    for row in long_documents(out) if config.long_context else []:
        for check in checks(row, config.long_context or LongContextConfig()):
            if check.value is not None:
                of_source = values.setdefault(f"long context, {row['source']}", {})
                of_source.setdefault((check.rule.partition(".")[2], check.bounds), []).append(check.value)
    return {
        title: [histogram(name, np.array(found), bounds) for (name, bounds), found in of_source.items()]
        for title, of_source in values.items()
    }
