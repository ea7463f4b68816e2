"""The `evergreen` command: thin verbs over all three packages, each loaded when it is called."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence

import click

from monitoring.admin.workbench import Workbench
from monitoring.errors import MonitoringError
from service.errors import ServiceError
from training.errors import EvergreenError

VERBS = {
    "init": "learning",
    "train": "learning",
    "import": "learning",
    "predict": "learning",
    "up": "running",
    "replay": "running",
    "backtest": "running",
    "status": "looking",
    "versions": "looking",
    "show": "looking",
    "ledger": "looking",
    "why": "looking",
    "verdicts": "looking",
    "performance": "looking",
    "compare": "looking",
    "episodes": "looking",
    "report": "looking",
    "check": "deciding",
    "retrain": "deciding",
    "promote": "deciding",
    "rollback": "deciding",
    "pause": "deciding",
    "resume": "deciding",
    "label": "deciding",
    "label-requests": "deciding",
    "ack": "deciding",
    "backup": "keeping",
    "restore": "keeping",
    "remove": "keeping",
    "doctor": "keeping",
    "notify": "keeping",
    "keys": "keeping",
    "quarantine": "keeping",
}


class Verbs(click.Group):
    """A group that finds its verbs in `monitoring.cli`, in the order of `VERBS`."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the verbs in the order of a model's life."""
        return list(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import the module of a verb and return its command."""
        if name not in VERBS:
            return None
        command = getattr(importlib.import_module(f"monitoring.cli.{VERBS[name]}"), f"{name.replace('-', '_')}_verb")
        assert isinstance(command, click.Command)
        return command


def print_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    """Show the version and end; where Evergreen is not installed as a package, as in the image, it is 0."""
    from service.telemetry.release import release

    if wanted:
        click.echo(f"{context.info_name} {release()}")
        context.exit()


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--home", metavar="FOLDER", help="Evergreen's home; default $EVERGREEN_HOME or .evergreen.")
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=print_version, help="Show the version and exit.")
@click.pass_context
def evergreen(context: click.Context, home: str | None) -> None:
    """Keep a scikit-learn model fresh: train, serve, log, judge, retrain, gate, promote, roll back.

    Example: evergreen init rides.csv --target late --time departed && evergreen up model.yaml
    """
    environment: dict[str, str] = dict(context.obj)
    if home is not None:
        environment["EVERGREEN_HOME"] = home
    context.obj = Workbench(environment)
    context.call_on_close(context.obj.close)


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run one command and return its exit code: 0 done, 1 refused or failed, 2 wrongly called, 130 ended by Ctrl-C.

    Errors end in one sentence on standard error; only an unexpected one, at ``EVERGREEN_LOG_LEVEL=DEBUG``, has its traceback before it.
    """
    try:
        result = evergreen.main(list(arguments), prog_name="evergreen", obj=dict(environment), standalone_mode=False)
    except click.ClickException as error:
        error.show()
        if "unexpected extra argument" in error.message:
            click.echo("Name one; a shell makes several of a pattern such as *.csv that is not in quotes.", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return 130
    except (EvergreenError, ServiceError, MonitoringError, OSError) as error:
        click.echo(f"error: {sentence(error)}", err=True)
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort
        if environment.get("EVERGREEN_LOG_LEVEL", "").upper() == "DEBUG":
            click.echo(traceback.format_exc(), err=True)
        message = " ".join(str(error).split())
        click.echo(f"unexpected: {type(error).__name__}: {message}; set EVERGREEN_LOG_LEVEL=DEBUG for the traceback", err=True)
        return 1
    return result if isinstance(result, int) else 0


def sentence(error: Exception) -> str:
    """Return what an error says to people, with the file an OSError is about.

    Examples
    --------
    >>> sentence(FileNotFoundError(2, "No such file or directory", "rides.csv"))
    'rides.csv: No such file or directory'
    """
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def main() -> None:
    """Read the command line and the environment, run the verb, exit with its code."""
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s: %(message)s", stream=sys.stderr)
    sys.exit(run(sys.argv[1:], os.environ))
