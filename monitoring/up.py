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
from monitoring.samples import Sample, try_model
from monitoring.settings import from_environment as monitoring_settings
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
            announce(specs, running, screen, has_keys=settings.keys_file is not None)
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


def announce(specs: Sequence[ModelSpec], running: Running, screen: Screen, *, has_keys: bool) -> None:
    """Print the addresses and, for the first model whose data is at hand, requests to paste with their real answers."""
    samples: list[Sample] = []
    tried = next((spec for spec in specs if spec.data is not None and spec.data.exists()), None)
    if tried is not None and not has_keys:
        samples = list(try_model(tried, f"http://{running.service}"))
    if screen.as_json:
        sent = [{"curl": sample.curl, "answer": sample.answer} for sample in samples]
        screen.facts("", {**running.to_dict(), "samples": sent})
        return
    base = f"http://{running.service}"
    screen.note(f"\nservice  {base}   /models  /readyz  /metrics")
    screen.note(f"monitor  http://{running.monitor}   /metrics")
    screen.note(f"logs     {running.logs}\n")
    for what, sample in zip(("predict", "the truth, later"), samples, strict=False):
        screen.note(f"# {what}\n{sample.curl}\n{json.dumps(sample.answer)}\n")
    screen.note("Ctrl-C stops everything.")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
