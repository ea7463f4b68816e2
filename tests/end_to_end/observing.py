"""Prometheus and Alertmanager as an operator runs them, by the files we ship, and a webhook that keeps what it was told."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.patience import PATIENCE_SECONDS, until
from tests.ports import free_port
from tests.receivers import Receiver, receiver

SHIPPED = Path(__file__).resolve().parents[2] / "monitoring" / "prometheus"
FASTER = 20  # so much shorter is each duration in a drill
LONGEST = timedelta(minutes=1)  # in a drill
SLOW_SECONDS = 2.5  # in a drill, and a bound of a bucket
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_WINDOW = re.compile(r"\[(\d+(?:ms|[dhms]))\]|offset (\d+(?:ms|[dhms]))")
_SECONDS = re.compile(r"(?<![\w.\"])(\d{2,})(?![\w.\"])")


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs."""

    url: str
    config: Path

    def ask(self, expr: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and the value of every series of an instant query."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expr}, timeout=60)
        assert answer.status_code == 200, f"{expr}: {answer.text}"
        return [(one["metric"], float(one["value"][1])) for one in answer.json()["data"]["result"]]

    def ask_over(self, expr: str, since: float) -> list[float]:
        """Return the values of a query from a moment on until now, as a panel with lines asks for them."""
        step = max(1.0, (time.time() - since) / 1000)
        asked = {"query": expr, "start": str(since), "end": str(time.time()), "step": str(step)}
        answer = httpx.get(f"{self.url}/api/v1/query_range", params=asked, timeout=60)
        assert answer.status_code == 200, f"{expr}: {answer.text}"
        return [float(value) for one in answer.json()["data"]["result"] for _, value in one["values"]]

    def is_ready(self) -> bool:
        """Return whether it answers queries."""
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=60).status_code == 200
        except httpx.TransportError:
            return False

    def reaches_all(self) -> bool:
        """Return whether it has scraped service and monitor."""
        return sorted((labels["job"], up) for labels, up in self.ask("up")) == [("evergreen-monitor", 1.0), ("evergreen-service", 1.0)]

    def reaches_alertmanager(self) -> bool:
        """Return whether it knows where to send alerts."""
        return bool(httpx.get(f"{self.url}/api/v1/alertmanagers", timeout=60).json()["data"]["activeAlertmanagers"])

    def reload(self) -> None:
        """Have it read configuration and rules anew; for some seconds it knows no Alertmanager after that, and tells nobody."""
        httpx.post(f"{self.url}/-/reload", timeout=60).raise_for_status()
        until(self.reaches_alertmanager, "Prometheus knows its Alertmanager")

    def scrape_also(self, job: str, address: str) -> None:
        """Scrape one more of a job."""
        config = yaml.safe_load(self.config.read_text())
        [targets] = [one["static_configs"][0]["targets"] for one in config["scrape_configs"] if one["job_name"] == job]
        targets.append(address)
        self.config.write_text(yaml.safe_dump(config))
        self.reload()
        until(lambda: self.ask(f'up{{instance="{address}"}} == 1'), f"{address} is scraped")

    def alerts(self) -> dict[str, str]:
        """Return what is pending or firing now."""
        content = httpx.get(f"{self.url}/api/v1/alerts", timeout=60).json()["data"]["alerts"]
        return {one["labels"]["alertname"]: one["state"] for one in sorted(content, key=lambda one: one["state"] == "firing")}

    def has_fired(self) -> set[str]:
        """Return the names of all alerts that have ever fired, told or not."""
        fired = self.ask('count by (alertname) (max_over_time(ALERTS{alertstate="firing"}[1d]))')
        return {labels["alertname"] for labels, _ in fired}


def configuration(targets: Mapping[str, str], rules: Path, interval: str, alertmanager: str = "") -> str:
    """Return our configuration of Prometheus for other addresses.

    Parameters
    ----------
    targets
        Addresses by job.
    alertmanager
        Its address; alerts go nowhere without.
    """
    config = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
    for job in config["scrape_configs"]:
        job["static_configs"][0]["targets"] = [targets[job["job_name"]]]
    config["global"] = {"scrape_interval": interval, "evaluation_interval": interval, "scrape_timeout": interval}
    config["rule_files"] = [str(rules)]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
    if not alertmanager:
        del config["alerting"]
    return yaml.safe_dump(config)


@contextmanager
def running_prometheus(folder: Path, config: str, *options: str) -> Iterator[Prometheus]:
    """Run Prometheus until the block ends; it has scraped all its targets when the block begins."""
    (path := folder / "prometheus.yml").write_text(config)
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={folder / 'data'}", *options]
    prometheus = Prometheus(f"http://{address}", path)
    with running([*command, f"--web.listen-address={address}", "--web.enable-lifecycle"], folder / "prometheus.log"):
        until(prometheus.is_ready, (folder / "prometheus.log").read_text)
        until(prometheus.reaches_all, lambda: str(prometheus.ask("up")))
        yield prometheus


@contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


@dataclass(frozen=True, slots=True)
class Notice:
    """What arrived at the webhook of Alertmanager of one alert."""

    alert: str
    status: str
    labels: Mapping[str, str]
    place: int


@dataclass(frozen=True, slots=True)
class Observed:
    """Prometheus and Alertmanager over a system, and what they told."""

    prometheus: Prometheus
    hook: Receiver

    def notices(self) -> list[Notice]:
        """Return all that was told so far."""
        every = [one for each in list(self.hook.got) for one in json.loads(each.body)["alerts"]]
        return [Notice(one["labels"]["alertname"], one["status"], one["labels"], place) for place, one in enumerate(every)]

    def wait_for(self, alert: str, status: str) -> None:
        """Wait until the last that was told of an alert is this; all of what was told stands in the error."""
        until(
            lambda: [one.status for one in self.notices() if one.alert == alert][-1:] == [status],
            lambda: f"{alert} {status}; told: {[(one.alert, one.status) for one in self.notices()]}; now {self.prometheus.alerts()}",
        )

    def wait_for_calm(self) -> None:
        """Wait until no alert fires or is about to."""
        until(lambda: not self.prometheus.alerts(), lambda: str(self.prometheus.alerts()))


@contextmanager
def observing(targets: Mapping[str, str], folder: Path) -> Iterator[Observed]:
    """Run Prometheus and Alertmanager by the files we ship, with shorter durations, over a system until the block ends.

    The rules come in force when all targets have been scraped: Prometheus takes up to five seconds for that, whatever the durations.
    """
    address = f"127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        hook = stack.enter_context(receiver())
        routes = yaml.safe_load((SHIPPED / "alertmanager.yml").read_text())
        routes["receivers"][0]["webhook_configs"] = [{"url": hook.url}]
        routes["route"] = {key: sooner(value) if key in ("group_wait", "group_interval", "repeat_interval") else value
                           for key, value in routes["route"].items()}  # fmt: skip
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(routes))
        command = ["prometheus-alertmanager", f"--config.file={folder / 'alertmanager.yml'}", f"--storage.path={folder / 'alerts'}"]
        stack.enter_context(
            running([*command, "--cluster.listen-address=", f"--web.listen-address={address}"], folder / "alertmanager.log")
        )
        config = configuration(targets, folder / "rules.yml", "1s", address)
        durations = f"--query.lookback-delta={sooner('5m')}", f"--rules.alert.resend-delay={sooner('1m')}"
        prometheus = stack.enter_context(running_prometheus(folder, config, *durations))
        (folder / "rules.yml").write_text(yaml.safe_dump(sooner_rules(yaml.safe_load((SHIPPED / "rules.yml").read_text()))))
        prometheus.reload()
        yield Observed(prometheus, hook)


# ---- the same rules in less time --------------------------------------------------------------------------------------


def sooner(duration: str) -> str:
    """Return a duration a twentieth as long, and of a minute at most.

    Examples
    --------
    >>> sooner("5m"), sooner("1h"), sooner("0m"), sooner("10s")
    ('15000ms', '60000ms', '0ms', '500ms')
    """
    number, unit = re.fullmatch(r"(\d+)(ms|[dhms])", duration).groups()  # type: ignore[union-attr]
    return f"{_shorter(int(number) * _UNITS[unit]) * 1000:.0f}ms"


def sooner_rules(rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return alert rules in which each duration is as `sooner` makes it: windows, `for`, and what an expression compares seconds with.

    An answer is slow after 2.5 s in place of 100 ms: what else the machine does must not be what is drilled.

    Examples
    --------
    >>> rule = {"alert": "A", "expr": "max(age_seconds) > 120 and rate(n[5m]) > 0.1", "for": "2m"}
    >>> sooner_rules({"groups": [{"name": "g", "rules": [rule]}]})["groups"][0]["rules"]
    [{'alert': 'A', 'expr': 'max(age_seconds) > 6 and rate(n[15000ms]) > 0.1', 'for': '6000ms'}]
    """
    made: dict[str, Any] = copy.deepcopy(dict(rules))
    for rule in (rule for group in made["groups"] for rule in group["rules"]):
        parts = re.split(r'("[^"]*"|\[[^\]]*\]|offset \w+)', rule["expr"])
        rule["expr"] = "".join(_sooner_part(part) for part in parts).replace('le="0.1"', f'le="{SLOW_SECONDS}"')
        rule.update({key: sooner(rule[key]) for key in ("for", "keep_firing_for") if key in rule})
    return made


def _sooner_part(part: str) -> str:
    if part.startswith('"'):
        return part
    if part.startswith(("[", "offset")):
        return re.sub(r"\d+(?:ms|[dhms])", lambda match: sooner(match[0]), part)
    return re.sub(r"(?<![\w.])\d{2,}(?![\w.])", lambda match: f"{_shorter(float(match[0])):g}", part)


def _shorter(seconds: float) -> float:
    return min(seconds / FASTER, LONGEST.total_seconds())
