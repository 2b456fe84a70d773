"""The report of a corpus: one self-contained HTML page to look at, made from the manifest and the tables.

The funnel, what every rule dropped, each measurement's histogram with the threshold drawn in, samples of what was
kept and dropped, and the mixture. The same corpus gives the same bytes.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa

from castline.corpus.annotate.findings import annotation_columns, evaluation_records, findings
from castline.corpus.code.classes import scores
from castline.corpus.code.report import code_classes
from castline.corpus.config import CorpusConfig
from castline.corpus.decide import DUPLICATES
from castline.corpus.documents import read_documents
from castline.corpus.duplicates.summary import summarise
from castline.corpus.histogram import Histogram, histogram
from castline.corpus.long_context.config import LongContextConfig
from castline.corpus.long_context.select import checks, long_documents
from castline.corpus.manifest import read_account
from castline.corpus.rules.apply import PASSED, Flags, rules_by_group
from castline.corpus.rules.rule_set import Bounds, Rule
from castline.corpus.tables import read_table
from castline.files import write_text
from castline.recipe import parse

NAME = "report.html"
SAMPLES = 3
EXCERPT = 600


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


def write_report(out: Path, manifest: dict[str, Any] | None = None) -> Path:
    """Write `report.html` into the corpus directory and return its path.

    Args:
        out: the corpus directory.
        manifest: its manifest, where that is not written yet.

    Raises:
        DataError: `out` holds no finished corpus, or a part of it is damaged.
    """
    manifest = read_account(out) if manifest is None else manifest
    config = parse(CorpusConfig, manifest["recipe"], f"the manifest of {out}")
    decisions = _Decisions(out)
    samples = decisions.samples()
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
        findings=findings(out, manifest),
        duplicates=summarise(out, config.dedup.threshold),
        evaluation_records=evaluation_records(out, manifest),
        histograms=_histograms(out, config, manifest) | _long_context_histograms(out, config),
        code=code_classes(out),
        code_config=config.code,
        dropped={rule: found for rule, found in samples.items() if rule != PASSED},
        kept_samples=samples.get(PASSED, []),
    )
    write_text(out / NAME, page)
    return out / NAME


def funnel(totals: dict[str, Any]) -> list[Step]:
    """From everything that was read to what is kept: rejects, each rule set, duplicates."""
    losses: dict[str, int] = {"rejected": sum(totals["rejected"].values())}
    for rule, count in totals["dropped"].items():
        label = "duplicates" if rule in DUPLICATES else _title(rule)
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


class _Decisions:
    """Decisions and identities of all documents, in reading order."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._parts = sorted(path.stem for path in (out / "decisions").glob("*.parquet"))
        tables = [read_table(out / "decisions" / f"{part}.parquet") for part in self._parts]
        self._ends = np.cumsum([len(table) for table in tables])
        self._table = pa.concat_tables(tables)

    def samples(self) -> dict[str, list[Sample]]:
        """A few documents for every rule, and of those that were kept under `PASSED`: the smallest ids."""
        ids = np.array(self._table["id"].to_pylist())
        rules = np.array(self._table["rule"].to_pylist())
        chosen: list[int] = []
        for rule in np.unique(rules):
            rows = np.flatnonzero(rules == rule)
            chosen += rows[np.argsort(ids[rows])[: SAMPLES * (4 if rule == PASSED else 1)]].tolist()
        result: dict[str, list[Sample]] = {}
        for sample in self._read(sorted(chosen)):
            result.setdefault(sample.rule, []).append(sample)
        return dict(sorted(result.items()))

    def _read(self, rows: list[int]) -> Iterable[Sample]:
        for part, end, start in zip(self._parts, self._ends, [0, *self._ends], strict=False):
            wanted = [row for row in rows if start <= row < end]
            if not wanted:
                continue
            documents = read_documents(
                self._out / "documents" / f"{part}.jsonl.zst", {int(row - start) for row in wanted}
            )
            for row, document in zip(wanted, documents, strict=True):
                decision = self._table.slice(row, 1).to_pylist()[0]
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


def _histograms(out: Path, config: CorpusConfig, manifest: dict[str, Any]) -> dict[str, list[Histogram]]:
    """For every rule set that looked at documents, the histograms of its measurements.

    And of the scores of annotators that no rule bounds: to choose thresholds by.
    """
    table = pa.concat_tables([read_table(path) for path in sorted((out / "measurements").glob("*.parquet"))])
    rows: dict[Rule, Flags] = {}
    for group, rules in rules_by_group(table, config.rules):
        for rule in rules:
            rows[rule] = rows.get(rule, np.zeros(len(table), dtype=bool)) | group
    result: dict[str, list[Histogram]] = {}
    for rule, chosen in rows.items():
        values = table[rule.measurement].to_numpy()[chosen]
        values = values[~np.isnan(values.astype(np.float64))]
        if not len(values):
            continue
        result.setdefault(_title(rule.name), []).append(histogram(rule.measurement, values, rule.bounds))
    score = scores(table, config.code)
    score = score[~np.isnan(score)]
    if len(score):
        result["code"] = [histogram(config.code.score, score, Bounds(min=config.code.low))]
    bounded = {rule.measurement for rule in rows} | {config.code.score}
    for name in annotation_columns(manifest, {"float64"}):
        values = table[name].drop_null().to_numpy()
        if name not in bounded and len(values):
            result.setdefault("scores without a threshold", []).append(histogram(name, values, Bounds()))
    return result


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


def _title(rule: str) -> str:
    """The name of a rule's set, for people: "gopher quality"."""
    return rule.partition(".")[0].replace("_", " ")
