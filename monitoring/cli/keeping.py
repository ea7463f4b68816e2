"""Verbs that keep a home in order: backup, restore, remove, doctor, notify, keys, quarantine."""

from __future__ import annotations

from pathlib import Path

import click

from monitoring.admin.terminal import Screen
from monitoring.admin.workbench import Workbench
from monitoring.cli.options import model_option, screen_option, why_option

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("backup")
@click.argument("folder", type=FOLDER)
@screen_option
@click.pass_obj
def backup_verb(bench: Workbench, folder: Path, screen: Screen) -> None:
    """Copy everything into FOLDER (which must not exist) while everything runs.

    The copy holds private keys: keep it as you keep them.

    Example: evergreen backup /backups/2026-11-20
    """
    from monitoring.admin.backup import back_up

    screen.facts("backed up", back_up(bench.home, bench.settings.database_url, folder, bench.now()).to_dict())


@click.command("restore")
@click.argument("folder", type=FOLDER)
@screen_option
@click.pass_obj
def restore_verb(bench: Workbench, folder: Path, screen: Screen) -> None:
    """Bring back what `evergreen backup` wrote into FOLDER; the home must be empty and nothing may run.

    Example: evergreen --home /srv/evergreen restore /backups/2026-11-20
    """
    from monitoring.admin.backup import restore

    screen.facts("restored", restore(folder, bench.home, bench.settings.database_url).to_dict())


@click.command("remove")
@click.argument("name", metavar="VERSION|MODEL")
@click.option("--yes", is_flag=True, help="Really remove a whole MODEL.")
@model_option
@why_option
@screen_option
@click.pass_obj
def remove_verb(bench: Workbench, name: str, yes: bool, model: str | None, why: str, screen: Screen) -> None:
    """Remove a VERSION (or `previous`, `challenger`) that is not the champion, or a MODEL with all that belongs to it.

    Of a MODEL the aliases, versions, logged rows, labels and what is in the spool go; nothing may serve it meanwhile. Training rows go
    when no other version needs them. Manifests and the ledger stay.

    Example: evergreen remove 20261121T000010Z-5f34dc2f6f80 --why "too large"
    """
    from monitoring.admin.removal import remove_model, remove_version

    if name not in {record.name for record in bench.registry.models()}:
        screen.facts("removed", remove_version(bench, bench.model_named(model), name, why))
        return
    if not yes:
        raise click.UsageError(f"{name} is a model: --yes removes it, its versions, its log and its labels")
    screen.facts("removed", remove_model(bench, name, why))


@click.command("doctor")
@screen_option
@click.pass_obj
def doctor_verb(bench: Workbench, screen: Screen) -> int:
    """Check that the home is in order; exit code 1 when something is broken.

    Example: evergreen doctor
    """
    from monitoring.admin.doctor import examine

    checks = [check.to_dict() for check in examine(bench)]
    screen.rows("doctor", checks, ["check", "state", "detail"])
    return int(any(check["state"] == "broken" for check in checks))


@click.command("notify")
@click.option("--test", "is_test", is_flag=True, help="Send a message to each destination of this environment now.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many of the last messages.")
@model_option
@screen_option
@click.pass_obj
def notify_verb(bench: Workbench, is_test: bool, limit: int, model: str | None, screen: Screen) -> int:
    """List the last messages for people and whether they arrived; or send one as a test, exit code 1 where it did not arrive.

    Example: evergreen notify --test
    """
    from monitoring.notifying.delivery import messages_of, try_out
    from monitoring.settings import from_environment

    if is_test:
        tried = try_out(from_environment(bench.environment), bench.now())
        screen.rows("test", tried, ["destination", "where", "outcome"])
        return int(any(one["outcome"] != "delivered" for one in tried))
    known = messages_of(bench.journal.outbox, None if model is None else bench.model_named(model), limit)
    screen.rows("messages", known, ["at", "type", "summary", "deliveries"])
    return 0


@click.group("keys")
def keys_verb() -> None:
    """Make, list and revoke the keys of the HTTP service.

    Example: evergreen keys create --name shop --scope predict --scope label
    """


@keys_verb.command("create")
@click.option("--name", required=True, help="Who will use it.")
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(["predict", "label", "read", "admin"]), help="May be repeated."
)
@click.option("--model", "models", multiple=True, metavar="NAME", help="Only these models; may be repeated. Default: all.")
@click.option("--rate", type=float, help="Requests a second, on one machine. Default: no limit.")
@click.option("--burst", type=int, help="How many may come at once. Default: what two seconds bring.")
@screen_option
@click.pass_obj
def create_key(
    bench: Workbench,
    name: str,
    scopes: tuple[str, ...],
    models: tuple[str, ...],
    rate: float | None,
    burst: int | None,
    screen: Screen,
) -> None:
    """Make a key and print it, once: only its hash is kept. A running service takes it within two seconds.

    Example: evergreen keys create --name shop --scope predict --rate 50
    """
    from monitoring.admin.api_keys import add_key

    key = add_key(bench.home.ensure().api_keys, name, scopes, models, rate=rate, burst=burst)
    facts = {"name": name, "key": key, "scopes": list(scopes), "models": list(models) or "all"}
    screen.facts("keep it, it is not shown again", facts if rate is None else {**facts, "rate": rate})


@keys_verb.command("list")
@screen_option
@click.pass_obj
def list_keys(bench: Workbench, screen: Screen) -> None:
    """List the keys by name; the keys themselves are not stored.

    Example: evergreen keys list
    """
    from monitoring.admin.api_keys import list_keys as known

    screen.rows(
        "keys",
        known(bench.home.api_keys),
        ["name", "scopes", "models", "rate", "burst"],
        empty="none; the service answers on loopback only",
    )


@keys_verb.command("revoke")
@click.argument("name")
@screen_option
@click.pass_obj
def revoke_key(bench: Workbench, name: str, screen: Screen) -> None:
    """Take a key away by its name; a running service refuses it within two seconds.

    Example: evergreen keys revoke shop
    """
    from monitoring.admin.api_keys import revoke

    revoke(bench.home.api_keys, name)
    screen.text(f"{name} is revoked: a running service refuses it within two seconds", {"revoked": name})


@click.group("quarantine")
def quarantine_verb() -> None:
    """List what is set aside as broken, and release what is the new normal.

    Example: evergreen quarantine release 2024-10-07T00:00 --why "the feed is like this now"
    """


@quarantine_verb.command("list")
@model_option
@screen_option
@click.pass_obj
def list_quarantines(bench: Workbench, model: str | None, screen: Screen) -> None:
    """List the quarantines of a model, the earliest first, with who released which and why.

    Example: evergreen quarantine list
    """
    from monitoring.admin.quarantines import quarantines_of

    known = quarantines_of(bench, bench.model_named(model))
    screen.rows("quarantines", known, ["span", "until", "state", "reason", "released", "by", "why"], empty="none")


@quarantine_verb.command("release")
@click.argument("span")
@model_option
@why_option
@screen_option
@click.pass_obj
def release_quarantine(bench: Workbench, span: str, model: str | None, why: str, screen: Screen) -> None:
    """Let the rows of the quarantine that begins at SPAN count again; while the same goes on, it is no fault any more.

    Example: evergreen quarantine release 2024-10-07T00:00 --why "the feed is like this now"
    """
    from monitoring.admin.quarantines import release

    name = bench.model_named(model)
    one = release(bench, name, span, why)
    screen.text(f"{span} of {name} is released ({one.reason}); its rows count from the next slot on", {"model": name, "released": span})
