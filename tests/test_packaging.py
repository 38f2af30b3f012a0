"""What is shipped: wheel, image, compose file. No Docker engine is needed (see docs/notes)."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest
import yaml

from fhir_gateway.settings import Settings
from fhir_gateway.settings.unsafe import unsafe_store

from .conftest import free_port

ROOT = Path(__file__).resolve().parent.parent


def settings() -> set[str]:
    return {f"GATEWAY_{name.upper()}" for name in Settings.model_fields} | {"GATEWAY_CONFIG", "GATEWAY_SECRETS"}


@pytest.mark.parametrize("shared, said, passes", [
    (True, "../shared/peers/hapi is not here: HAPI FHIR is not tried", False), (False, "../shared/peers/hapi is not here: HAPI FHIR is not tried", True),
    (False, "Node is not here: Medplum's router is not tried", False), (True, "MongoDB is not here", True),
])  # fmt: skip
def test_a_peer_that_is_not_tried_in_ci_is_a_failure_where_it_could_be(tmp_path: Path, shared: bool, said: str, passes: bool) -> None:
    """The repository alone, which is what most have, passes."""
    place = tmp_path / "project"
    (place / ".venv/bin").mkdir(parents=True)
    (place / "scripts").mkdir()
    if shared:
        (tmp_path / "shared").mkdir()
    shutil.copy(ROOT / "scripts/test-all", place / "scripts")
    for name, line in (("python", "exit 0"), ("pytest", f'echo "SKIPPED [1] tests/interop/peers.py:28: {said}"')):
        (place / f".venv/bin/{name}").write_text(f"#!/bin/sh\n{line}\n")
        (place / f".venv/bin/{name}").chmod(0o755)
    done = subprocess.run([place / "scripts/test-all", "peers"], env=os.environ | {"IN_CI": "1"}, capture_output=True, text=True, timeout=60)
    assert (done.returncode == 0) is passes, done.stdout
    assert ("FAILED: real peers" in done.stdout) is not passes and "1 skipped" in done.stdout


def test_compose_file_follows_the_specification() -> None:
    """Structure per https://github.com/compose-spec/compose-spec/blob/main/05-services.md, as far as we use it."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert set(compose) <= {"services", "volumes", "networks", "name"}
    known = {
        "build", "image", "environment", "volumes", "ports", "read_only", "tmpfs", "cap_drop", "security_opt", "restart",
        "network_mode", "depends_on", "healthcheck", "command",
    }  # fmt: skip
    for name, service in compose["services"].items():
        assert set(service) <= known, name
        assert "build" in service or re.fullmatch(r"[\w./-]+:[\w.-]+", service["image"]), name
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"], name
        for needed in service.get("depends_on", []):
            assert needed in compose["services"]
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), "records are not offered to the network in the clear"
        if "network_mode" in service:
            assert service["network_mode"].removeprefix("service:") in compose["services"]


def test_compose_runs_a_gateway_and_a_worker_on_one_replica_set() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    gateway, worker, mongo = (services[name] for name in ("gateway", "worker", "mongo"))
    assert worker["command"] == ["worker"] and gateway["environment"] == worker["environment"]
    assert gateway["environment"]["GATEWAY_WORKER"] == "false", "the worker is a process of its own"
    store = gateway["environment"]["GATEWAY_STORE"]
    assert unsafe_store(store) is None
    (name,) = re.findall(r"replicaSet=(\w+)", store)
    assert mongo["command"][:3] == ["mongod", "--replSet", name]
    initiation = mongo["healthcheck"]["test"][-1]
    assert f"rs.initiate({{_id: '{name}'" in initiation and "isWritablePrimary" in initiation
    for service in (gateway, worker):
        assert service["depends_on"] == {"mongo": {"condition": "service_healthy"}}


def test_every_setting_in_compose_and_dockerfile_exists() -> None:
    text = (ROOT / "docker-compose.yml").read_text() + (ROOT / "Dockerfile").read_text()
    named = set(re.findall(r"GATEWAY_[A-Z_]+", text))
    assert named and named <= settings()


def test_every_setting_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    missing = {s for s in settings() if f"`{s}`" not in readme}
    assert not missing


def test_the_dockerfile_passes_hadolint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    found = str(hadolint) if hadolint.exists() else shutil.which("hadolint")
    if found is None:
        pytest.skip("hadolint is not installed here (make test-all installs it)")
    done = subprocess.run([found, "--ignore", "DL3013", str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_image_steps_work_by_hand(tmp_path: Path) -> None:
    """The Dockerfile's COPY and RUN lines, done in an empty folder: what it copies is enough to install and run."""
    src = tmp_path / "src"
    src.mkdir()
    copies = re.findall(r"^COPY (?!--from)(.+) (\S+)$", (ROOT / "Dockerfile").read_text(), re.M)
    for what, where in copies:
        for name in what.split():
            target = src / where / (name if where in ("./", ".") else "")
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, src / where, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, target)
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    done = subprocess.run([python, "-m", "pip", "install", "-q", "."], cwd=src, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(src)
    empty = tmp_path / "empty"
    empty.mkdir()
    command = tmp_path / "venv/bin/fhir-gateway"
    shown = subprocess.run([command, "version"], cwd=empty, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    goal = empty / "goal.json"
    goal.write_text('{"resourceType":"Goal","lifecycleStatus":"active","description":{"text":"x"},"subject":{"display":"me"}}')
    checked = subprocess.run([command, "validate", str(goal), "--json"], cwd=empty, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    serves_as_in_the_image(command, empty)


def serves_as_in_the_image(command: Path, folder: Path) -> None:
    """ENTRYPOINT and CMD with the image's ENV and what Compose adds: healthy, by the image's own HEALTHCHECK, and no demo."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    said = {name: json.loads(re.findall(rf"^{name} (\[.*\])$", dockerfile, re.M)[-1]) for name in ("ENTRYPOINT", "CMD")}
    env = dict(part.split("=", 1) for line in re.findall(r"^ENV (.+)$", dockerfile, re.M) for part in line.split() if "GATEWAY_" in part)
    port = free_port()
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["gateway"]["environment"]
    assert compose["GATEWAY_DATA"] == env["GATEWAY_DATA"]
    env |= {"GATEWAY_DATA": str(folder / "data"), "GATEWAY_PORT": str(port), "GATEWAY_BASE_URL": f"http://127.0.0.1:{port}"}
    assert said["ENTRYPOINT"] == [command.name]
    started = subprocess.Popen([command, *said["CMD"]], cwd=folder, env={"PATH": os.environ["PATH"], **env}, stderr=subprocess.PIPE)
    try:
        check = json.loads(re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", dockerfile, re.M)[0])
        check = [part.replace(":8080/", f":{port}/") for part in check]
        end = time.monotonic() + 30
        while subprocess.run([sys.executable, *check[1:]], capture_output=True).returncode != 0:
            assert started.poll() is None and time.monotonic() < end, started.stderr and started.stderr.read1(4000)
            time.sleep(0.2)
        asked = subprocess.run([command, "token", "--as", "gp"], cwd=folder, env={"PATH": os.environ["PATH"], **env}, capture_output=True)
        assert asked.returncode == 2, "no demo people in an image"
    finally:
        started.terminate()
        assert started.wait(10) in (0, -signal.SIGTERM)
