"""`kubectl` without a cluster: what its client does alone it does, the Pod is podman's.

The environment names the real client (`KUBECTL`) and a folder that lasts from one call to the next (`KUBECTL_STATE`).
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

STATE = Path(os.environ.get("KUBECTL_STATE", "."))
SECONDS = 300


def main(words: list[str]) -> int:
    """Do what one call of kubectl asks for; an unknown one is an error."""
    match words:
        case ["create", "secret", *_]:
            (STATE / "secret.yaml").write_text(client(*words, "--dry-run=client", "-o", "yaml"))
            return 0
        case ["apply", "-k", folder]:
            return play(folder)
        case ["wait", condition, *_] if "phase" in condition:
            return 0  # `podman play kube` ends when the containers run
        case ["rollout", "status", *_]:
            return wait_until_ready()
        case ["exec", *options]:
            return execute(options)
    sys.stderr.write(f"kubectl {' '.join(words)}: no stand-in\n")
    return 2


def client(*words: str) -> str:
    """Return what the real client prints."""
    return subprocess.run([os.environ["KUBECTL"], *words], stdout=subprocess.PIPE, text=True, check=True).stdout


def play(folder: str) -> int:
    """Run the rendered Deployment as podman's Pod, with the Secret and the volume claim; a Service is nothing podman knows."""
    rendered = [one for one in yaml.safe_load_all(client("kustomize", folder)) if one["kind"] != "Service"]
    secret = yaml.safe_load((STATE / "secret.yaml").read_text())
    if podman_version() < (4, 4):  # writes the text of a Secret into its volume as it stands, not decoded
        secret["data"] = {name: base64.b64decode(text).decode() for name, text in secret["data"].items()}
        command = ["podman", "secret", "create", secret["metadata"]["name"], "-"]
        subprocess.run(command, input=yaml.safe_dump(secret), text=True, check=True)
    else:
        rendered.insert(0, secret)
    (STATE / "pod.yaml").write_text(yaml.safe_dump_all(rendered))
    return subprocess.run(["podman", "play", "kube", STATE / "pod.yaml"], check=False).returncode


def podman_version() -> tuple[int, ...]:
    """Return major and minor version."""
    text = subprocess.run(["podman", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return tuple(int(part) for part in text.split()[-1].split(".")[:2])


def container(name: str) -> str:
    """Return podman's name of a container of the Pod."""
    names = subprocess.run(["podman", "ps", "--format", "{{.Names}}"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return next(one for one in names if one.startswith("evergreen-pod") and one.endswith(f"-{name}"))


def wait_until_ready() -> int:
    """Ask the readiness probe of the manifest until it is content, as the kubelet would."""
    deadline = time.monotonic() + SECONDS
    while not is_ready():
        if time.monotonic() > deadline:
            return 1
        time.sleep(0.2)
    return 0


def is_ready() -> bool:
    """Return whether what has a readiness probe answers it with 200, on the port it publishes."""
    pod = next(one for one in yaml.safe_load_all((STATE / "pod.yaml").read_text()) if one["kind"] == "Deployment")
    return all(answers(one) for one in pod["spec"]["template"]["spec"]["containers"] if "readinessProbe" in one)


def answers(one: dict[str, Any]) -> bool:
    """Return whether one container's readiness probe is answered with 200."""
    probe = one["readinessProbe"]["httpGet"]
    port = next(port["containerPort"] for port in one["ports"] if port["name"] == probe["port"])
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{probe['path']}", timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def execute(options: list[str]) -> int:
    """Run a command in a container of the Pod."""
    command = options[options.index("--") + 1 :]
    interactive = ["-i"] if "-i" in options[: options.index("--")] else []
    name = options[options.index("-c") + 1]
    return subprocess.run(["podman", "exec", *interactive, container(name), *command], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
