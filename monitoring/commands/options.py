"""What verbs share: the workbench, the screen, and the options `--json` and `--model`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from monitoring.terminal import Screen

Command = Callable[..., Any]


def screen_option(command: Command) -> Command:
    """Add `--json` and hand the verb a `screen`."""

    def make(context: click.Context, parameter: click.Parameter, as_json: bool) -> Screen:
        return Screen(as_json=as_json)

    return click.option("--json", "screen", is_flag=True, callback=make, help="Print JSON for programs.")(command)


def model_option(command: Command) -> Command:
    """Add `--model`, which may be left out while there is only one."""
    return click.option("--model", "-m", metavar="NAME", help="Which model; not needed while there is one.")(command)


def why_option(command: Command) -> Command:
    """Add `--why`, which goes into the ledger."""
    return click.option("--why", default="by hand", show_default=True, help="The reason, for the ledger.")(command)


def wait_option(seconds: float) -> Callable[[Command], Command]:
    """Add `--wait`: how long to wait for the monitor."""
    return click.option("--wait", metavar="SECONDS", default=seconds, show_default=True, help="How long to wait for the answer.")
