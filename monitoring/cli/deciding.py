"""Verbs that decide in the loop's place, or steer it: check, retrain, promote, rollback, pause, resume, label, ack."""

from __future__ import annotations

from pathlib import Path

import click

from monitoring.admin.terminal import Screen
from monitoring.admin.workbench import Workbench
from monitoring.cli.learning import vars_of
from monitoring.cli.options import INPUT_FILE, model_option, screen_option, wait_option, why_option
from training.registry.tables import Cause


@click.command("check")
@wait_option(60.0)
@model_option
@screen_option
@click.pass_obj
def check_verb(bench: Workbench, wait: float, model: str | None, screen: Screen) -> None:
    """Have the running monitor judge the newest rows, as the next slot would, and act on nothing.

    Example: evergreen check --json
    """
    from monitoring.admin.requests import ask

    screen.facts("verdict", ask(bench, bench.model_named(model), "check", "by hand", wait_seconds=wait).to_dict(), hidden=("evidence",))


@click.command("retrain")
@wait_option(600.0)
@model_option
@why_option
@screen_option
@click.pass_obj
def retrain_verb(bench: Workbench, wait: float, model: str | None, why: str, screen: Screen) -> None:
    """Have the running monitor train a challenger on what is known now; it is promoted if it passes the gate.

    Example: evergreen retrain --why "new stations"
    """
    from monitoring.admin.requests import ask

    screen.facts("retraining", ask(bench, bench.model_named(model), "retrain", why, wait_seconds=wait).to_dict(), hidden=("evidence",))


@click.command("promote")
@click.argument("version")
@click.option("--force", is_flag=True, help="Also across another contract; goes into the ledger.")
@model_option
@why_option
@screen_option
@click.pass_obj
def promote_verb(bench: Workbench, version: str, force: bool, model: str | None, why: str, screen: Screen) -> None:
    """Make VERSION (or `challenger`) the champion; the service follows within a second.

    Example: evergreen promote challenger --why "looks right"
    """
    from monitoring.admin.manual_actions import promote

    with screen.aside():
        moved = promote(bench, bench.model_named(model), version, why, force=force)
    screen.facts("promoted", vars_of(moved))


@click.command("rollback")
@model_option
@why_option
@screen_option
@click.pass_obj
def rollback_verb(bench: Workbench, model: str | None, why: str, screen: Screen) -> None:
    """Bring the previous champion back.

    Example: evergreen rollback --why "complaints from the desk"
    """
    from monitoring.admin.manual_actions import roll_back

    with screen.aside():
        moved = roll_back(bench, bench.model_named(model), why)
    screen.facts("rolled back", vars_of(moved))


@click.command("pause")
@model_option
@why_option
@screen_option
@click.pass_obj
def pause_verb(bench: Workbench, model: str | None, why: str, screen: Screen) -> None:
    """Stop the loop of a model; it is still served and logged.

    Example: evergreen pause --why "migration of the stations"
    """
    name = bench.model_named(model)
    bench.registry.set_paused(name, True, Cause(bench.who, why))
    screen.text(f"the loop of {name} is paused; evergreen resume goes on", {"model": name, "paused": True})


@click.command("resume")
@model_option
@why_option
@click.option(
    "--advance-clock", is_flag=True, help="Move model time to the newest logged row: after a gap longer than watching.clock_bound."
)
@click.option("--set-clock", metavar="TIME", help="Set model time, also back; slots behind it are judged when they come again.")
@screen_option
@click.pass_obj
def resume_verb(bench: Workbench, model: str | None, why: str, advance_clock: bool, set_clock: str | None, screen: Screen) -> None:
    """Let the loop of a model go on; slots that passed meanwhile are judged in order.

    Example: evergreen resume
    """
    from monitoring.admin.manual_actions import advance_clock as move
    from monitoring.admin.manual_actions import read_clock
    from monitoring.admin.manual_actions import set_clock as set_back

    if advance_clock and set_clock is not None:
        raise click.UsageError("say --advance-clock or --set-clock")
    name = bench.model_named(model)
    moved = move(bench, name, why) if advance_clock else None
    moved = moved if set_clock is None else set_back(bench, name, read_clock(bench, name, set_clock), why)
    bench.registry.set_paused(name, False, Cause(bench.who, why))
    facts = {"model": name, "paused": False, "model_time": moved}
    screen.text(f"the loop of {name} goes on" + (f"; model time is {moved:%Y-%m-%d %H:%M}" if moved else ""), facts)


@click.command("label")
@click.argument("prediction_id", required=False, metavar="[ID]")
@click.argument("label", required=False)
@click.option("--file", "table", type=INPUT_FILE, help="A CSV or Parquet file with the columns id (or own_id) and label.")
@model_option
@screen_option
@click.pass_obj
def label_verb(
    bench: Workbench, prediction_id: str | None, label: str | None, table: Path | None, model: str | None, screen: Screen
) -> int:
    """Say what turned out to be true: LABEL of the prediction ID, or many from a file.

    The exit code is 1 where a label was not written (an id that is unknown or none, a value that is no class, ...); the reason of the
    first ones is said on standard error, the others of a file are written.

    Example: evergreen label --file labels.csv
    """
    from monitoring.batch.labels import write_file, write_one

    if table is not None and prediction_id is None:
        done = write_file(bench, bench.model_named(model), table)
    elif table is None and prediction_id is not None and label is not None:
        done = write_one(bench, bench.model_named(model), prediction_id, label)
    else:
        raise click.UsageError("say ID and LABEL, or --file")
    screen.facts("labels", done.to_dict())
    if done.not_written:
        more = f"\n  ... and {done.not_written - len(done.reasons)} more" if done.not_written > len(done.reasons) else ""
        lines = "".join(f"\n  {reason}" for reason in done.reasons)
        click.echo(f"error: {done.not_written} label(s) not written{lines}{more}", err=True)
    return int(done.not_written > 0)


@click.command("label-requests")
@click.option("-k", "k", type=int, help="Draw so many predictions (1 to 10,000) that have no label. Without it: list what was drawn.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The CSV file to write, with an empty column label.")
@click.option("--key", help="Names the request; drawn once. Default: the name of the file.")
@click.option("--from", "start", metavar="TIME", help="Where the window begins, model time. Default: watching.window before its end.")
@click.option("--to", "end", metavar="TIME", help="Where it ends, exclusive. Default: after the newest row.")
@model_option
@screen_option
@click.pass_obj
def label_requests_verb(  # 8 parameters: what may be said on the command line
    bench: Workbench,
    k: int | None,
    out: Path | None,
    key: str | None,
    start: str | None,
    end: str | None,
    model: str | None,
    screen: Screen,
) -> None:
    """Draw predictions at random for somebody to label, or list what was drawn and how much of it has its label.

    The file has all that a request brought and an empty column label: fill it in and send it with `evergreen label --file`.

    Example: evergreen label-requests -k 50 --out week-10.csv
    """
    from monitoring.batch.label_requests import draw_to_file, list_requests

    name = bench.model_named(model)
    if k is None and out is None and key is start is end is None:
        columns = ["key", "from", "to", "eligible", "drawn", "answered", "open"]
        screen.rows(
            "label requests", list_requests(bench, name), columns, empty="none; evergreen label-requests -k 50 --out FILE draws one"
        )
        return
    if k is None or out is None:
        raise click.UsageError("say -k and --out, or neither of all")
    screen.facts("label request", draw_to_file(bench, name, k, key, (start, end), out))


@click.command("ack")
@click.argument("episode", type=int, required=False)
@click.option("--performance", is_flag=True, help="Of performance: how it does now is how it is; the baseline is learned anew.")
@click.option("--mute", metavar="DURATION", help="Say nothing of it for so long (such as 30d, model time); it stays open.")
@click.option("--as-reference", is_flag=True, help="Take the last window of rows as the new reference of all columns.")
@model_option
@why_option
@screen_option
@click.pass_obj
def ack_verb(  # 8 parameters: the options of a verb
    bench: Workbench,
    episode: int | None,
    performance: bool,
    mute: str | None,
    as_reference: bool,
    model: str | None,
    why: str,
    screen: Screen,
) -> None:
    """Acknowledge the drift EPISODE, which ends at the next slot and its columns are watched anew; or a worse performance.

    Example: evergreen ack 3 --as-reference --why "the new district is here to stay"
    """
    from monitoring.admin.manual_actions import acknowledge, renew_baseline
    from training.clock import parse_duration

    if (mute is not None) + as_reference + performance > 1:
        raise click.UsageError("say one of --mute, --as-reference and --performance")
    if performance == (episode is not None):
        raise click.UsageError("say the number of a drift episode, or --performance")
    name = bench.model_named(model)
    if episode is None:
        after = renew_baseline(bench, name, why)
        screen.text(f"the performance of {name} is acknowledged; {after}", {"model": name, "next": after})
        return
    after = acknowledge(bench, name, episode, why, mute=None if mute is None else parse_duration(mute), is_reference=as_reference)
    screen.text(f"episode {episode} of {name} is acknowledged; {after}", {"model": name, "episode": episode, "next": after})
