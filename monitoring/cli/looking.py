"""Verbs that look and change nothing: status, versions, show, ledger, why, verdicts, performance, compare, episodes, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitoring.admin.terminal import Screen, TrainingBar
from monitoring.admin.workbench import Workbench
from monitoring.cli.learning import metric_rows
from monitoring.cli.options import INPUT_FILE, INPUT_TABLE, model_option, screen_option
from monitoring.errors import InputError

if TYPE_CHECKING:
    from monitoring.drift.comparing import Comparison


@click.command("status")
@model_option
@screen_option
@click.pass_obj
def status_verb(bench: Workbench, model: str | None, screen: Screen) -> None:
    """Say what is happening with each model, why, and when the loop looks next.

    Example: evergreen status
    """
    from monitoring.admin.status import status_of

    names = [record.name for record in bench.registry.models()] if model is None else [bench.model_named(model)]
    statuses = [status_of(bench, name) for name in names]
    if screen.as_json:
        screen.rows("status", statuses)
    elif not statuses:
        screen.note("no model yet; start with `evergreen init table.csv --target COLUMN` or `evergreen train model.yaml`")
    else:
        for one in statuses:
            screen.facts(str(one["model"]), {**one, "members": _shares(one["members"]) or None}, hidden=("model",))


@click.command("versions")
@model_option
@screen_option
@click.pass_obj
def versions_verb(bench: Workbench, model: str | None, screen: Screen) -> None:
    """List the versions of a model, the newest last, with their aliases; of one that is a mixture the members with their weights.

    Example: evergreen versions --model bikes
    """
    from monitoring.admin.status import versions_of

    rows = versions_of(bench, bench.model_named(model))
    has_members = any(row["members"] for row in rows)
    if not screen.as_json:
        rows = [{**row, "trained_through": row["trained_through"] or "no time", "members": _shares(row["members"])} for row in rows]
    members = ["members"] if has_members else []
    screen.rows("versions", rows, ["version", "alias", "algorithm", "score", *members, "trained_through", "created", "parent"])
    gone = bench.registry.expired(bench.model_named(model))
    if gone and not screen.as_json:
        screen.note(f"{len(gone)} more went by retention: their manifests and their lines in the ledger are left")


def _shares(members: Sequence[Mapping[str, Any]]) -> str:
    """Say which members answer in a version, the heaviest first."""
    heaviest = sorted(members, key=lambda member: -member["weight"])
    return ", ".join(f"{member['weight']:.0%} {member['family']} {member['version'].rpartition('-')[2][:8]}" for member in heaviest)


@click.command("show")
@click.argument("version", required=False)
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write the card as a page, with drawings, instead.")
@model_option
@screen_option
@click.pass_obj
def show_verb(bench: Workbench, version: str | None, html: Path | None, model: str | None, screen: Screen) -> None:
    """Show one VERSION (an alias will do; the champion by default): its figures and its model card, verified.

    Example: evergreen show challenger

    Example: evergreen show --html card.html
    """
    from monitoring.admin.status import resolve, verified_card
    from training.cards.markdown import held_out

    record = resolve(bench, bench.model_named(model), version)
    manifest, card = verified_card(bench, record, as_page=html is not None)
    if html is not None:
        if card is None:
            raise InputError(f"{record.version} was made before cards had a page; its card: evergreen show {record.version}")
        html.write_text(card, encoding="utf-8")
        screen.facts("written", {"version": record.version, "file": html, "bytes": len(card.encode())})
        return
    spec = bench.spec(record.model)
    if screen.as_json:
        undated = {} if spec.schema.is_dated(manifest["trained_through_us"]) else {"data_start": None, "data_end": None}
        screen.facts("", {"version": record.version, "path": bench.home.artifacts / record.path, **manifest, **undated})
        return
    screen.text(card or f"{record.version}: no card", None)
    of_newest = "its newest member " if record.members else ""
    screen.rows(f"{of_newest}on {held_out(spec)}, not learned from", metric_rows(manifest["metrics"]))


@click.command("ledger")
@click.option("--limit", default=30, show_default=True, help="How many lines.")
@model_option
@screen_option
@click.pass_obj
def ledger_verb(bench: Workbench, limit: int, model: str | None, screen: Screen) -> None:
    """Show every move of an alias, the newest first: when, what, who, why.

    Example: evergreen ledger --limit 5
    """
    from monitoring.cli.learning import vars_of

    entries = bench.registry.ledger(model, limit)
    if model is not None and not entries:
        bench.model_named(model)  # one that was removed has its lines still
    rows = [vars_of(entry) for entry in entries]
    if not screen.as_json:
        rows = [{**row, "why": str(row["why"]).partition("\n")[0]} for row in rows]
    screen.rows("ledger", rows, ["seq", "at", "model", "action", "version", "previous", "who", "why"])


@click.command("why")
@click.argument("name")
@model_option
@screen_option
@click.pass_obj
def why_verb(bench: Workbench, name: str, model: str | None, screen: Screen) -> None:
    """Say why NAME is as it is: a version, a slot or a verdict, a quarantine, or a prediction.

    Of a version or a verdict: the rows, the numbers with where the decision would turn, how long it took. Of a prediction: who answered,
    the label, and which trainings, gates and weighings used its row, or why none did. NAME is a version or an alias, the time of a slot
    or its day, a kind of verdict (the last of it), the name of a quarantine, a prediction id or one of the caller's own.

    Example: evergreen why champion

    Example: evergreen why 2024-10-03

    Example: evergreen why order-1234 --json
    """
    from monitoring.explaining.sentences import sections
    from monitoring.explaining.why import why

    known = why(bench, bench.model_named(model), name)
    if screen.as_json:
        screen.facts("", known)
        return
    for part in sections(known):
        if part.facts:
            screen.facts(part.title, part.facts)
        else:
            screen.rows(part.title, part.rows)


@click.command("verdicts")
@click.option("--limit", default=20, show_default=True, help="How many slots.")
@model_option
@screen_option
@click.pass_obj
def verdicts_verb(bench: Workbench, limit: int, model: str | None, screen: Screen) -> None:
    """Show what the loop concluded at each slot, the newest first, and why.

    Example: evergreen verdicts --json
    """
    from monitoring.admin.status import verdicts_of

    screen.rows("verdicts", verdicts_of(bench, bench.model_named(model), limit), ["slot", "verdict", "reasons"])


@click.command("performance")
@click.option("--metric", help="Another one than the model is watched by, such as accuracy or selection_rate.")
@click.option("--buckets", default=30, show_default=True, type=click.IntRange(1), help="How many buckets back from model time.")
@click.option("--segments", "by_segment", is_flag=True, help="Each of watching.segments apart too.")
@model_option
@screen_option
@click.pass_obj
def performance_verb(bench: Workbench, metric: str | None, buckets: int, by_segment: bool, model: str | None, screen: Screen) -> None:
    """Show how good the answers were, by the time of their prediction, as far as labels have come: a bucket a line.

    Intervals are 95 %; rows of one bucket are taken as independent. Where rows without a label differ in score from the others, the metric
    is weighted by score, and the interval covers the worst case of what is unlabelled: below it is said of which. Beside stands what is
    estimated without labels, with its band: it assumes that the relation of features to target is unchanged.

    Example: evergreen performance --metric accuracy --segments
    """
    from monitoring.admin.status import performance_of

    rows, notes = performance_of(bench, bench.model_named(model), metric, buckets, by_segment=by_segment)
    corrected = ["unweighted"] if any(row["weighted"] for row in rows) else []
    columns = ["bucket", *(["segment"] if by_segment else []), "n", "coverage", "metric", "value", "low", "high", *corrected]
    screen.rows("performance", rows, [*columns, "estimated", "estimated_low", "estimated_high"])
    for note in notes:
        screen.note(note)


@click.command("compare")
@click.argument("a", type=INPUT_TABLE, required=False)
@click.argument("b", type=INPUT_TABLE, required=False)
@click.option("--schema", "model_file", type=INPUT_FILE, help="A model file that says what the columns are; else they are guessed.")
@click.option("--from", "starts", metavar="TIME", multiple=True, help="Instead of tables: when a window of the log begins.")
@click.option("--to", "ends", metavar="TIME", multiple=True, help="When it ends. Twice both: A and B; once: B, and A is the training data.")
@model_option
@screen_option
@click.pass_obj
def compare_verb(  # 8 parameters: the options of the verb
    bench: Workbench,
    a: Path | None,
    b: Path | None,
    model_file: Path | None,
    starts: tuple[str, ...],
    ends: tuple[str, ...],
    model: str | None,
    screen: Screen,
) -> None:
    """Say which columns moved from table A to table B, how far, and how far chance alone would take them.

    Columns that moved come first, the farthest on top. Two windows of a model's log are compared with --from and --to.

    Example: evergreen compare january.csv february.csv

    Example: evergreen compare --model bikes --from 2026-03-01 --to 2026-03-08
    """
    if a is not None and b is not None and not (starts or ends or model):
        from monitoring.batch.comparison import compare

        with screen.aside():
            show_comparison(screen, compare(a, b, spec=model_file, progress=TrainingBar(screen)))
        return
    if a is not None or model_file is not None or len(starts) != len(ends) or len(starts) not in (1, 2):
        raise click.UsageError("give two tables A and B; or --from TIME and --to TIME, once or twice, and --model")
    from monitoring.batch.log_comparison import compare_windows, span_of

    name = bench.model_named(model)
    *before, last = (span_of(bench, name, start, end) for start, end in zip(starts, ends, strict=True))
    show_comparison(screen, compare_windows(bench, name, before[0] if before else None, last))


def show_comparison(screen: Screen, comparison: Comparison) -> None:
    """Show columns, what was left out, and in a sentence what moved; to programs all figures."""
    if screen.as_json:
        screen.facts("", comparison.to_dict())
        return
    screen.rows("each distance with what chance stays below in brackets", comparison.table())
    for note in comparison.notes:
        screen.note(f"note: {note}")
    screen.text(comparison.sentence, None)


@click.command("episodes")
@click.option("--limit", default=20, show_default=True, help="How many episodes.")
@model_option
@screen_option
@click.pass_obj
def episodes_verb(bench: Workbench, limit: int, model: str | None, screen: Screen) -> None:
    """Show the drifts of a model, the newest first: which columns, since when, how far, and how each ended.

    Example: evergreen episodes --json
    """
    from monitoring.admin.status import episodes_of

    screen.rows(
        "episodes",
        episodes_of(bench, bench.model_named(model), limit),
        ["episode", "state", "columns", "psi", "since", "opened", "ended", "why"],
    )


@click.command("report")
@click.argument("model", required=False)
@click.option("--out", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Where it goes; default MODEL-report.html.")
@click.option("--days", default=90, show_default=True, type=click.IntRange(1, 36_500), help="How much model time it tells of.")
@screen_option
@click.pass_obj
def report_verb(bench: Workbench, model: str | None, out: Path | None, days: int, screen: Screen) -> None:
    """Write how MODEL stands and what happened to it as one HTML file, which needs no script and nothing else.

    It is read from counts and the journal, so that it takes as long at any traffic; no row of the log is in it, only counts.

    Example: evergreen report bikes --days 365
    """
    from monitoring.report.report import report_of

    name = bench.model_named(model)
    path = out or Path(f"{name}-report.html")
    content = report_of(bench, name, days).encode()
    path.write_bytes(content)
    screen.facts("written", {"model": name, "file": path, "bytes": len(content), "days": days})
