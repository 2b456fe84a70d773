"""`castline corpus build | decide | report | explain | sample`."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from castline.cli import classifier
from castline.cli.guard import guarded
from castline.cli.output import JsonOption, note, print_fields, print_json, print_table, size
from castline.cli.recipe import CORPUS_TABLES, SetOption, read_tables, required_out

if TYPE_CHECKING:
    from castline.corpus.config import CorpusConfig
    from castline.corpus.duplicates.matches import Match
    from castline.corpus.explain import Explanation

app = typer.Typer(help="Build, report on and explain a corpus.", no_args_is_help=True, rich_markup_mode=None)

CorpusArgument = Annotated[Path, typer.Argument(help="A corpus directory.")]


def build_command(
    recipe: Annotated[Path, typer.Argument(help="The recipe.")],
    out: Annotated[Path | None, typer.Option(help="The corpus directory to write.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one per core. The bytes are the same.")] = 0,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Where they run: on this machine, or on a Ray cluster.")
    ] = "local",
    max_bad: Annotated[
        float | None, typer.Option(min=0, max=1, help="Let this share of each source's records be damaged.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a corpus of another recipe.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be read and written.")] = False,
    overrides: SetOption = None,
    json_output: JsonOption = False,
) -> None:
    """Read, measure, filter, deduplicate, tokenise and mix the sources of a recipe."""
    config = _config(recipe, overrides)
    base = recipe.resolve().parent
    if dry_run:
        _show_plan(config, base, json_output)
        return
    out = required_out(out)
    from castline.corpus.workers import Workers

    with Workers((workers or len(os.sched_getaffinity(0))) if engine == "local" else 1) as pool:
        pool.start()  # before the imports here: workers take as long for theirs
        from castline.corpus.build import build_corpus

        shared = pool if engine == "local" else workers
        summary = build_corpus(config, out, base=base, workers=shared, engine=engine, force=force, max_bad=max_bad)
    if summary.reused:
        note(f"{out} holds the corpus of this recipe: reused")
    for stage, count in summary.resumed.items():
        note(f"{stage}: {count} finished steps of an interrupted build taken over")
    manifest = summary.manifest
    if json_output:
        shown = {name: manifest[name] for name in ("totals", "sources", "mixture", "tokenizer")}
        print_json({"out": str(out), "reused": summary.reused, **shown})
        return
    _show_accounts(manifest)
    if "language" not in manifest["annotators"] and config.language.detect:
        from castline.corpus.annotate.language import HOW_TO_GET_A_MODEL

        note(f"without a language model, only Chinese and English were told apart; {HOW_TO_GET_A_MODEL}")
    note(f"look at {out / 'report.html'}; next: castline train run {recipe} --out run")


def report_command(corpus: CorpusArgument, json_output: JsonOption = False) -> None:
    """Write report.html again, and print the account of a corpus."""
    from castline.corpus.annotate.findings import findings
    from castline.corpus.manifest import read_account
    from castline.corpus.report import write_report

    manifest = read_account(corpus)
    path = write_report(corpus)
    found = findings(corpus, manifest)
    if json_output:
        shown = {"totals": manifest["totals"], "sources": manifest["sources"]}
        print_json({"report": str(path), **shown, "found": [asdict(one) for one in found]})
        return
    _show_accounts(manifest)
    if found:
        rows = [(one.column, one.looked_at, one.documents, one.total) for one in found]
        print_table("found in documents", ("measurement", "looked at", "with any", "in all"), rows)
    print(path)


def decide_command(
    corpus: CorpusArgument,
    recipe: Annotated[Path | None, typer.Option(help="Take the settings of this recipe.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    overrides: SetOption = None,
    json_output: JsonOption = False,
) -> None:
    """Decide again with other thresholds, in seconds: no text is read. `build` then makes the tokens anew."""
    from castline.corpus.redecide import redecide

    values = read_tables(recipe, CORPUS_TABLES, None) if recipe else None
    change = redecide(corpus, recipe=values, overrides=overrides, dry_run=dry_run)
    if json_output:
        print_json({"dry_run": dry_run, **asdict(change)})
        return
    for line in change.settings:
        print(line)
    rules = sorted({*change.dropped_before, *change.dropped_after})
    rows = [("kept", change.kept_before, change.kept_after)]
    rows += [(rule, change.dropped_before.get(rule, 0), change.dropped_after.get(rule, 0)) for rule in rules]
    table = [(name, old, new, f"{new - old:+,}" if new != old else "") for name, old, new in rows]
    print_table("documents kept, and dropped by rule", ("", "before", "after", "change"), table)
    print(f"{change.newly_kept:,} documents newly kept, {change.newly_dropped:,} newly dropped")
    if change.long_before is not None and change.long_after is not None:
        print(f"{change.long_after:,} documents chosen for long contexts, {change.long_before:,} before")
    if dry_run or not (change.settings or change.decisions_changed):
        note("nothing was written" if dry_run else "nothing changed")
    else:
        note(
            "tokenizer and shards were of the earlier decisions: `castline corpus build` with these settings makes them"
        )


def sample_command(
    corpus: CorpusArgument,
    rule: Annotated[str, typer.Option(help="Only what this rule, or set of rules, dropped.")] = "",
    source: Annotated[str, typer.Option(help="Only documents of this source.")] = "",
    kept: Annotated[bool | None, typer.Option("--kept/--dropped", help="Only kept ones, or only dropped ones.")] = None,
    count: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 5,
    seed: Annotated[int, typer.Option(help="Another seed, other documents.")] = 0,
    json_output: JsonOption = False,
) -> None:
    """Print some documents, chosen at random."""
    from castline.corpus.sample import sample_documents

    found = sample_documents(corpus, rule=rule, source=source, kept=kept, count=count, seed=seed)
    if json_output:
        print_json({"documents": [asdict(document) for document in found]})
        return
    for document in found:
        fate = f"dropped by {document.rule}" if document.rule else "kept"
        if document.value is not None:
            fate += f": measured {document.value:.4g}, threshold {document.threshold:.4g}"
        if document.duplicate_of:
            fate += f", kept instead: {document.duplicate_of}"
            fate += f" of {document.earlier_corpus}" if document.earlier_corpus else ""
        print(f"── {document.id}  {document.source}  {document.path}  {fate}\n{document.text}\n")


def explain_command(
    corpus: CorpusArgument,
    document: Annotated[str, typer.Argument(metavar="DOC_ID", help="A document's id, or the beginning of it.")],
    json_output: JsonOption = False,
) -> None:
    """Say where a document comes from, what was measured, and why it was kept or dropped."""
    from castline.corpus.explain import explain_document

    explanation = explain_document(corpus, document)
    if json_output:
        print_json(asdict(explanation))
    else:
        _show_explanation(explanation)


app.add_typer(classifier.app, name="classifier")
app.command("build")(guarded(build_command))
app.command("decide")(guarded(decide_command))
app.command("report")(guarded(report_command))
app.command("explain")(guarded(explain_command))
app.command("sample")(guarded(sample_command))


def _config(recipe: Path, overrides: list[str] | None) -> "CorpusConfig":
    from castline.corpus.config import CorpusConfig
    from castline.recipe import parse

    return parse(CorpusConfig, read_tables(recipe, CORPUS_TABLES, overrides), str(recipe))


def _show_plan(config: "CorpusConfig", base: Path, json_output: bool) -> None:
    from castline.corpus.plan import plan_corpus

    plan = plan_corpus(config, base=base)
    if json_output:
        print_json(asdict(plan))
        return
    rows = [(s.name, s.files, size(s.bytes), size(s.text_bytes), s.tokens) for s in plan.sources]
    print_table("would read (text and tokens estimated)", ("source", "files", "bytes", "text", "tokens"), rows)
    for annotator in plan.annotators:
        print(f"for every document, {annotator}")
    if plan.long_documents is not None and config.long_context:
        print(f"would score about {plan.long_documents:,} long documents with {config.long_context.scorer}")
    if plan.packed_documents is not None:
        tokens = config.repositories.tokens
        print(f"would pack repositories into about {plan.packed_documents:,} documents of at most {tokens:,} tokens")
    for phase in plan.phases:
        _show_phase(f"phase {phase.name} would be, before any rule", [asdict(row) for row in phase.rows])
        if phase.problem:
            note(f"as far as can be told from the samples: {phase.problem}")
    print(f"would write at most about {size(plan.output_bytes)}")


def _show_phase(title: str, rows: list[dict[str, Any]]) -> None:
    """A phase by budget, source and length; the report has the languages, too."""
    sums: dict[tuple[str, str, str], list[int]] = {}
    for row in rows:
        counts = sums.setdefault((row["budget"], row["source"], row["length"]), [0, 0, 0])
        for at, name in enumerate(("available", "planned", "read")):
            counts[at] += row[name] or 0
    total = max(sum(planned for _, planned, _ in sums.values()), 1)
    written = any(row["read"] is not None for row in rows)
    columns = ("budget", "source", "length", "available", "passes", "planned", "share")
    shown = [
        (*names, available, planned / available, planned, f"{100 * planned / total:.1f}%", *([read] if written else []))
        for names, (available, planned, read) in sorted(sums.items())
    ]
    if rows:
        print_table(title, (*columns, "written") if written else columns, shown)


def _show_accounts(manifest: dict[str, Any]) -> None:
    columns = ("source", "read", "rejected", "dropped", "kept", "held out", "tokens", "held-out tokens")
    accounts = {**manifest["sources"], "total": manifest["totals"]}
    rows = [
        (
            name,
            account["read"],
            sum(account["rejected"].values()),
            sum(account["dropped"].values()),
            account["kept"]["train"],
            account["kept"]["held_out"],
            account["tokens"]["train"],
            account["tokens"]["held_out"],
        )
        for name, account in accounts.items()
    ]
    print_table("documents and tokens", columns, rows)
    long = [
        (name, one["documents"], one["chosen"], ", ".join(f"{rule} {n:,}" for rule, n in one["refused"].items()))
        for name, one in ((manifest.get("long_context") or {}).get("sources") or {}).items()
    ]
    if long:
        print_table("long documents", ("source", "documents", "chosen", "refused by"), long)
    for phase in manifest.get("mixture", []):
        _show_phase(f"phase {phase['phase']}: {phase['tokens']:,} tokens", phase["rows"])
    losses = [(f"dropped: {name}", count) for name, count in manifest["totals"]["dropped"].items()]
    losses += [(f"rejected: {name}", count) for name, count in manifest["totals"]["rejected"].items()]
    if losses:
        losses.sort(key=lambda row: -row[1])
        print_table("why documents went", ("reason", "documents"), losses)


def _name(match: "Match") -> str:
    return f"{match.id} of {match.corpus}" if match.corpus else match.id


def _show_explanation(explanation: "Explanation") -> None:
    e = explanation
    fate = "kept" if e.kept else f"dropped by {e.rule}"
    if e.duplicate_of:
        fate += f", a duplicate of {e.duplicate_of}" + (f" of {e.earlier_corpus}" if e.earlier_corpus else "")
    print_fields(
        {
            "id": e.id,
            "source": f"{e.source} ({e.kind}, {e.language})",
            "path": f"{e.path} of {e.source_path}" + (f", record {e.record}" if e.record else ""),
            **e.metadata,
            "decision": fate,
            "split": e.split or None,
            **{name: e.measurements[name] for name in e.annotations if e.measurements[name] not in (None, 0, "")},
            "cluster": f"{e.cluster} ({e.cluster_size} documents)",
            "quality": f"{e.quality}, read {e.repeats} times per pass" if e.quality and e.kept else e.quality or None,
            "packed": f"bytes {e.packed.start}-{e.packed.end} of {e.packed.document}" if e.packed else None,
            "tokens": "; ".join(f"{t.shard} {t.start}-{t.end}" for t in e.tokens) or None,
        }
    )
    if e.checks:
        rows = [(c.rule, c.value, c.min, c.max, "passed" if c.passed else "failed") for c in e.checks]
        print()
        print_table("rules", ("rule", "value", "min", "max", ""), rows)
    for match in e.matches:
        print(f"like {_name(match)}: Jaccard similarity {match.similarity:.3f}")
    if len(e.chain) > 1:
        steps = [f"{_name(step)} ({step.similarity:.3f})" for step in e.chain]
        print("how it leads to the one that stayed: " + " → ".join(steps))
    print("\n" + e.text[:500] + ("…" if len(e.text) > 500 else ""))
