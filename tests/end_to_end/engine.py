"""A container engine for tests: `docker` by buildah and podman, `kubectl` by its client and podman, in a network of their own.

Nothing of it touches the machine's own images, containers or ports: the storage is a folder, the network a namespace. The base image is
a stand-in made of Debian's packages, and the build finds its requirements in a folder of wheels, so that it asks nobody.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.patience import LONGER_SECONDS

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("buildah", "podman", "runc", "catatonit", "mmdebstrap", "unshare", "nsenter", "ip", "kubectl", "curl")
BASE = "docker.io/library/python:3.11-slim"
PACKAGES = "python3,python3-pip,python3-venv,python-is-python3,ca-certificates"
ONE_DAY = 86400

DOCKER = """#!/bin/sh
# --format docker keeps HEALTHCHECK, which OCI images have not.
if [ "$1" = build ]; then
  shift
  exec buildah bud --format docker --isolation chroot --pull-never -v {wheels}:/wheels:ro -v {pip}:/etc/pip.conf:ro "$@"
fi
exec podman "$@"
"""
KUBECTL = """#!/bin/sh
KUBECTL={kubectl} KUBECTL_STATE={state} exec {python} {program} "$@"
"""
STORAGE = """[storage]
driver = "overlay"
graphroot = "{folder}/store"
runroot = "{folder}/run"
"""
# Limits that a container without CAP_SYS_RESOURCE can set; runc, since crun refuses machines with both versions of cgroups.
CONTAINERS = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""


class Engine:
    """Runs shell as a reader of the docs would, with `docker`, `kubectl`, `evergreen` on its path; leaving the `with` removes all.

    Parameters
    ----------
    folder
        Where images, containers, volumes and wheels lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state = folder / "kubectl"
        self._bin = folder / "bin"
        for one in (self._state, self._bin):
            one.mkdir()
        tools = f"{self._bin}:{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
        (folder / "storage.conf").write_text(STORAGE.format(folder=folder))
        (folder / "containers.conf").write_text(CONTAINERS)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("EVERGREEN_")},
            "PATH": tools,
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "BUILDAH_LAYERS": "true",
        }
        self._write_stand_ins()
        self._network = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec cat"],
            stdin=subprocess.PIPE,  # closed when this process ends, however it ends, and the network with it
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._network.stdout is not None
        assert self._network.stdout.readline() == "up\n"

    def run(self, script: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run shell in a folder and in the network of the containers, stopping at the first command that fails."""
        return subprocess.run(
            ["nsenter", f"--net=/proc/{self._network.pid}/ns/net", "bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGER_SECONDS,
            check=False,
        )

    def must(self, script: str, folder: Path) -> str:
        """Run shell that has to work and return what it prints."""
        done = self.run(script, folder)
        assert done.returncode == 0, f"{script}\nended with {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout

    def logs(self) -> str:
        """Return the last lines of every container."""
        return self.run('for one in $(podman ps -aq); do podman logs --tail 20 "$one" 2>&1 || true; done', self._folder).stdout

    def sweep(self) -> None:
        """Remove all containers, Pods, volumes and secrets; images stay."""
        self.run("podman pod rm -af; podman rm -af; podman volume rm -af; podman secret rm -a", self._folder)

    def make_base(self) -> None:
        """Make the image that the Dockerfile starts from."""
        script = f"""
            c=$(buildah from scratch)
            buildah add -q $c {base_archive()} /
            buildah config --env PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin --env LANG=C.UTF-8 --cmd python3 $c
            buildah commit -q $c {BASE}
            buildah rm $c"""
        self.must(script, self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.sweep()
        self.run("buildah rm -a; buildah rmi -af", self._folder)
        self._network.communicate()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write_stand_ins(self) -> None:
        wheels, pip = self._folder / "wheels", self._folder / "pip.conf"
        pip.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        self._write("docker", DOCKER.format(wheels=wheels, pip=pip))
        program = Path(__file__).with_name("kubectl_by_podman.py")
        self._write("kubectl", KUBECTL.format(kubectl=shutil.which("kubectl"), state=self._state, python=sys.executable, program=program))
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]
        command += ["--python-version", "3.11", "-r", str(ROOT / "requirements.txt"), "-d", str(wheels)]
        subprocess.run(command, check=True, timeout=LONGER_SECONDS)

    def _write(self, name: str, script: str) -> None:
        (self._bin / name).write_text(script)
        (self._bin / name).chmod(0o755)


def missing() -> str | None:
    """Return why no engine can be made here; None when it can."""
    if os.geteuid() != 0:
        return "not root"
    absent = [tool for tool in TOOLS if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    return f"no {', '.join(absent)} (Debian: apt-get install {' '.join(TOOLS[:5])} iproute2 kubernetes-client)" if absent else None


def base_archive() -> Path:
    """Return the files of the base image, made of Debian's packages: once a day, since it takes minutes."""
    folder = Path(tempfile.gettempdir()) / f"evergreen-test-base-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    archive = folder / "base.tar"
    if not archive.exists() or time.time() - archive.stat().st_mtime > ONE_DAY:
        new = folder / f"base.{os.getpid()}.tar"
        free = """rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED"""
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", f"--customize-hook={free}", "bookworm", new]
        subprocess.run(command, check=True, timeout=LONGER_SECONDS)
        new.rename(archive)
    return archive


def clone(folder: Path) -> Path:
    """Copy what a fresh clone has into a folder."""
    leave = shutil.ignore_patterns(".venv", ".git", ".evergreen*", ".*_cache", ".hypothesis", "__pycache__", "mutants", "*.egg-info")
    return shutil.copytree(ROOT, folder, ignore=leave)
