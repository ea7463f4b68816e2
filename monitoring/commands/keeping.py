"""Verbs that keep a home in order: backup, restore, doctor, keys."""

from __future__ import annotations

from pathlib import Path

import click

from monitoring.commands.options import screen_option
from monitoring.terminal import Screen
from monitoring.workbench import Workbench

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
    from monitoring.backup import back_up

    screen.facts("backed up", back_up(bench.home, bench.settings.database_url, folder, bench.now()).to_dict())


@click.command("restore")
@click.argument("folder", type=FOLDER)
@screen_option
@click.pass_obj
def restore_verb(bench: Workbench, folder: Path, screen: Screen) -> None:
    """Bring back what `evergreen backup` wrote into FOLDER; the home must be empty and nothing may run.

    Example: evergreen --home /srv/evergreen restore /backups/2026-11-20
    """
    from monitoring.backup import restore

    screen.facts("restored", restore(folder, bench.home, bench.settings.database_url).to_dict())


@click.command("doctor")
@screen_option
@click.pass_obj
def doctor_verb(bench: Workbench, screen: Screen) -> int:
    """Check that the home is in order; exit code 1 when something is broken.

    Example: evergreen doctor
    """
    from monitoring.doctor import examine

    checks = [check.to_dict() for check in examine(bench)]
    screen.rows("doctor", checks, ["check", "state", "detail"])
    return int(any(check["state"] == "broken" for check in checks))


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
    """Make a key and print it, once: only its hash is kept. A running service reads its keys at its next start.

    Example: evergreen keys create --name shop --scope predict --rate 50
    """
    from monitoring.keyring import add_key

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
    from monitoring.keyring import list_keys as known

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
    """Take a key away by its name; a running service reads its keys at its next start.

    Example: evergreen keys revoke shop
    """
    from monitoring.keyring import revoke

    revoke(bench.home.api_keys, name)
    screen.text(f"{name} is revoked; restart the service, which reads its keys at start", {"revoked": name})
