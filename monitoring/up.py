"""Everything on one machine: train what has no champion, start service and monitor, show how to talk to them, stay."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from monitoring.onboarding import ensure_champion, registered_specs
from monitoring.processes import Processes, refuse_taken
from monitoring.samples import Sample, requests_of, send
from monitoring.settings import from_environment as monitoring_settings
from monitoring.status import resolve
from monitoring.terminal import Screen, TrainingBar
from monitoring.workbench import Workbench
from service.settings import from_environment as service_settings
from training.errors import UnknownModelError
from training.spec import ModelSpec


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
    """Serve and watch the models of `files` (all registered ones when empty) until interrupted.

    Raises
    ------
    ProcessError
        A port is taken, or a process does not come up.
    """
    settings, binds = service_settings(bench.environment), addresses(bench.environment)
    for module, bind in binds.items():
        refuse_taken(bind, module)
    specs = prepare(bench, files, screen)
    running = Running(binds["service"], binds["monitoring"], tuple(spec.model for spec in specs), bench.home.path / "logs")
    signal.signal(signal.SIGTERM, _interrupt)
    with Processes(child_environment(bench, running.models), running.logs) as processes:
        with suppress(KeyboardInterrupt):
            start(processes, binds)
            announce(bench, specs, running, screen, has_keys=settings.keys_file is not None)
            processes.watch(screen.note)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        screen.note("stopping ...")
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
        spec, trained = ensure_champion(bench, path, TrainingBar(screen))
        if trained is not None:
            screen.note(f"{spec.model}: {trained.algorithm} is the first champion, version {trained.version}")
        specs.append(spec)
    return specs


def child_environment(bench: Workbench, models: Sequence[str]) -> dict[str, str]:
    """Return the environment of service and monitor: ours, with the home spelled out and only these models served."""
    return {
        **bench.environment,
        "EVERGREEN_HOME": str(bench.home.path),
        "EVERGREEN_MODELS": ",".join(models),
        "PYTHONUNBUFFERED": "1",
    }


def start(processes: Processes, binds: Mapping[str, str]) -> None:
    """Start both and wait until the service is ready and the monitor lives."""
    processes.start("service", binds["service"])
    processes.start("monitoring", binds["monitoring"])
    processes.wait_ready("service", "/readyz")
    processes.wait_ready("monitoring", "/livez")


def announce(bench: Workbench, specs: Sequence[ModelSpec], running: Running, screen: Screen, *, has_keys: bool) -> None:
    """Print the addresses and, for the first model, requests to paste; at its very first start with their real answers."""
    samples = [] if has_keys else try_first(bench, specs[0].model, f"http://{running.service}", screen)
    if screen.as_json:
        sent = [{"curl": sample.curl, "answer": sample.answer} for sample in samples]
        screen.facts("", {**running.to_dict(), "samples": sent})
        return
    base = f"http://{running.service}"
    screen.note(f"\nservice  {base}   /models  /readyz  /metrics")
    screen.note(f"monitor  http://{running.monitor}   /metrics")
    screen.note(f"logs     {running.logs}\n")
    for what, sample in zip(("predict", "the truth, later (here: what the model said)"), samples, strict=False):
        told = "not sent: the log has rows" if sample.answer is None else json.dumps(sample.answer)
        screen.note(f"# {what}\n{sample.curl}\n{told}\n")
    screen.note("Ctrl-C stops everything.")


def try_first(bench: Workbench, model: str, url: str, screen: Screen) -> list[Sample]:
    """Return requests made of the champion's golden rows, sent only while the model's log is empty: it is no place for samples."""
    try:
        champion = bench.load(resolve(bench, model, None))
        unsent = requests_of(model, champion.golden, champion.schema, url)
        return list(unsent if bench.log.count(model) else send(*unsent))
    except Exception as error:  # noqa: BLE001 - a sample is a courtesy, serving goes on
        screen.note(f"no sample: {error}")
        return []


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
