"""Everything on one machine: train what has no champion, start service and monitor, show how to talk to them, stay."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from monitoring.admin.onboarding import ensure_champion, registered_specs
from monitoring.admin.served_only import noted
from monitoring.admin.terminal import Screen, TrainingBar
from monitoring.admin.workbench import Workbench
from monitoring.errors import ProcessError
from monitoring.local.processes import BIND_VARIABLES, Processes
from monitoring.local.sample_requests import Sample, ask_in_child
from monitoring.settings import from_environment as monitoring_settings
from service.home_lock import claim
from service.ports import refuse_taken
from service.recording.disk_room import shortage
from service.settings import from_environment as service_settings
from training.errors import UnknownModelError
from training.model_file.model_spec import ModelSpec

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Running:
    """What runs and where."""

    service: str
    monitor: str
    models: tuple[str, ...]
    logs: Path

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "service": f"http://{self.service}",
            "monitor": f"http://{self.monitor}",
            "models": list(self.models),
            "logs": str(self.logs),
        }


def up(bench: Workbench, files: Sequence[Path], screen: Screen) -> None:
    """Serve and watch the models of `files` until interrupted; when there are none, all that are registered, also later.

    Raises
    ------
    SettingsError
        A port or the home is taken.
    ProcessError
        A process does not come up.
    """
    settings, binds = service_settings(bench.environment), addresses(bench.environment)
    if files or bench.home.path.exists():  # a home that was mistyped is named, not made
        os.close(claim(bench.home))
    for module, bind in binds.items():
        refuse_taken(bind, BIND_VARIABLES[module], wait_seconds=1.0)
    specs = prepare(bench, files, screen)
    running = Running(binds["service"], binds["monitoring"], tuple(spec.model for spec in specs), bench.home.path / "logs")
    end_on_signals()
    only = running.models if files else None
    with noted(bench.home, only), Processes(child_environment(bench, only), running.logs) as processes:
        with suppress(KeyboardInterrupt):
            start(processes, binds)
            announce(bench, specs, running, screen, has_keys=settings.keys_file is not None)
            processes.watch(screen.note, disk_watch(bench.home.path, settings.disk_reserve, screen.note))
        with suppress(OSError):  # the terminal may be what has gone
            screen.note("stopping ...")
    with suppress(OSError):
        screen.note("stopped")


def addresses(environment: Mapping[str, str]) -> dict[str, str]:
    """Return where each process will listen."""
    return {"service": service_settings(environment).bind, "monitoring": monitoring_settings(environment).bind}


def prepare(bench: Workbench, files: Sequence[Path], screen: Screen) -> list[ModelSpec]:
    """Register the model files and train what has no champion."""
    if not files:
        specs = registered_specs(bench)
        if not specs:
            raise UnknownModelError("there is no model yet; name a model file: evergreen up model.yaml")
        return specs
    specs = []
    for path in files:
        spec, trained = ensure_champion(bench, path, TrainingBar(screen), screen.note)
        if trained is not None:
            screen.note(f"{spec.model}: {trained.algorithm} is the first champion, version {trained.version}")
        specs.append(spec)
    others = [record.name for record in bench.registry.models() if record.name not in {spec.model for spec in specs}]
    if others:
        screen.note(f"only the models of these files are served; registered too: {', '.join(others)} (evergreen up without files: all)")
    return specs


def child_environment(bench: Workbench, models: Sequence[str] | None) -> dict[str, str]:
    """Return the environment of service and monitor: ours, with home and code spelled out and, unless None, only these models served."""
    only = {} if models is None else {"EVERGREEN_MODELS": ",".join(models)}
    code = {} if bench.settings.code is None else {"EVERGREEN_CODE": str(bench.settings.code)}
    return {**bench.environment, "EVERGREEN_HOME": str(bench.home.path), **code, **only, "PYTHONUNBUFFERED": "1"}


def start(processes: Processes, binds: Mapping[str, str]) -> None:
    """Start both and wait until the service is ready and the monitor lives."""
    processes.start("service", binds["service"])
    processes.start("monitoring", binds["monitoring"])
    processes.wait_ready("service", "/readyz")
    processes.wait_ready("monitoring", "/livez")


def announce(bench: Workbench, specs: Sequence[ModelSpec], running: Running, screen: Screen, *, has_keys: bool) -> None:
    """Print the addresses and, for the first model, requests to paste, the first with what is answered to it."""
    samples = [] if has_keys else samples_of(bench, specs[0].model, f"http://{running.service}", screen)
    if screen.as_json:
        shown = [{"curl": sample.curl, "answer": sample.answer} for sample in samples]
        screen.facts("", {**running.to_dict(), "samples": shown})
        return
    base = f"http://{running.service}"
    screen.note(f"\nservice  {base}   /models  /readyz  /metrics")
    screen.note(f"monitor  http://{running.monitor}   /metrics")
    screen.note(f"logs     {running.logs}\n")
    for what, sample in zip(("predict", "label, later (here: what the model said)"), samples, strict=False):
        answer = "" if sample.answer is None else f"{json.dumps(sample.answer)}\n"
        screen.note(f"# {what}\n{sample.curl}\n{answer}")
    screen.note("Ctrl-C stops everything.")


def samples_of(bench: Workbench, model: str, url: str, screen: Screen) -> list[Sample]:
    """Return requests made of a golden row of the champion; none is sent, and none is shown where it does not answer."""
    try:
        return list(ask_in_child({**bench.environment, "EVERGREEN_HOME": str(bench.home.path)}, model, url))
    except (ProcessError, OSError) as error:
        screen.note(f"no sample: {error}")
        return []


def end_on_signals() -> None:
    """Let the first of Ctrl-C, SIGTERM and a terminal that is closed interrupt this process, and no second one.

    What came in ignored stays so: SIGHUP under nohup, SIGINT of a job in the background.
    """
    ours = [number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN]

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in ours:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in ours:
        signal.signal(number, interrupt)


def disk_watch(home: Path, reserve: int | None, say: Callable[[str], None]) -> Callable[[], None]:
    """Return a look at the disk that says a sentence when its room ends, and one when there is room again."""
    was_short = False

    def look() -> None:
        nonlocal was_short
        with suppress(OSError):
            short = shortage(home, reserve)
            if (short is not None) != was_short:
                was_short = not was_short
                say(short or "there is room on the disk again")

    return look
