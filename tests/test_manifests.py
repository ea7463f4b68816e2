"""The container and the Kubernetes manifests: rendered, validated, and true to the settings."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parent.parent
BASE = ROOT / "k8s" / "base"
BIN = Path(sys.executable).parent

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="NOT CHECKED: no kubectl here (Debian: apt-get install kubernetes-client)"
)


@cache
def rendered() -> str:
    done = subprocess.run(["kubectl", "kustomize", str(BASE)], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def resource(kind: str) -> dict:
    return next(document for document in yaml.safe_load_all(rendered()) if document["kind"] == kind)


def pod() -> dict:
    return resource("Deployment")["spec"]["template"]["spec"]


def container(name: str) -> dict:
    return next(one for one in pod()["containers"] if one["name"] == name)


@needs_kubectl
@pytest.mark.parametrize("version", ["1.32", "1.34", "1.36"])
def test_the_rendered_manifests_are_valid_to_the_letter(version: str, tmp_path: Path) -> None:
    path = tmp_path / "rendered.yaml"
    path.write_text(rendered())

    done = subprocess.run(
        [BIN / "kubernetes-validate", "-k", version, "--strict", path],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@needs_kubectl
def test_one_pod_at_a_time_writes_the_volume() -> None:
    deployment = resource("Deployment")["spec"]

    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {"type": "Recreate"}
    assert resource("PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteOncePod"]


@needs_kubectl
def test_the_service_finds_the_pod() -> None:
    selector = resource("Service")["spec"]["selector"]

    labels = resource("Deployment")["spec"]["template"]["metadata"]["labels"]

    assert selector.items() <= labels.items()
    assert resource("Service")["spec"]["ports"][0]["targetPort"] == container("service")["ports"][0]["name"]


@needs_kubectl
@pytest.mark.parametrize("name", ["service", "monitor"])
def test_a_container_is_hardened_and_bounded(name: str) -> None:
    one = container(name)

    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["runAsUser"] == 10001
    assert pod()["automountServiceAccountToken"] is False
    assert {"cpu", "memory"} <= set(one["resources"]["requests"])
    assert "memory" in one["resources"]["limits"]


@needs_kubectl
def test_the_probes_ask_for_what_the_probes_promise() -> None:
    service = container("service")

    assert service["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert service["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container("monitor")["livenessProbe"]["httpGet"]["path"] == "/livez"


@needs_kubectl
@pytest.mark.parametrize("name", ["service", "monitor"])
def test_both_containers_share_one_home_on_the_volume(name: str) -> None:
    one = container(name)
    variables = {variable["name"]: variable["value"] for variable in one["env"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in one["volumeMounts"]}

    assert variables["EVERGREEN_HOME"].startswith(mounts["home"] + "/")


@needs_kubectl
@pytest.mark.parametrize("name", ["service", "monitor"])
def test_every_variable_of_the_manifests_is_a_known_setting(name: str) -> None:
    documented = set(re.findall(r"`(EVERGREEN_[A-Z_]+)`", (ROOT / "docs" / "settings.md").read_text()))

    used = {variable["name"] for variable in container(name)["env"]}

    assert used <= documented


def test_the_image_runs_as_a_plain_user_with_hashed_requirements() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()

    assert "\nUSER 10001:10001\n" in dockerfile
    assert "--require-hashes" in dockerfile
    assert "\nHEALTHCHECK " in dockerfile


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)

    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", ["requirements.in", "requirements.txt", "requirements-dev.in", "requirements-dev.txt"])
def test_no_index_address_is_written_into_the_requirements(name: str) -> None:
    text = (ROOT / name).read_text()

    assert "://" not in text
    assert "index-url" not in text
    assert "--find-links" not in text
