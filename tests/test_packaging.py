"""What is promised about the package, its pins and its container."""

import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
ASKED = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
REQUIRED = [text for text in ASKED if Requirement(text).name != PROJECT["name"]]  # `dev` asks for our own other extras


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    found = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in found.items()}


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return dict(compose["services"]["funnel"])


@pytest.mark.parametrize("requirement", REQUIRED, ids=lambda text: Requirement(text).name)
def test_pinned_version_is_allowed(requirement: str, pins: dict[str, str]) -> None:
    """Every requirement is pinned to a version that its range allows."""
    wanted = Requirement(requirement)
    assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)])


def test_pins_are_plain_versions(pins: dict[str, str]) -> None:
    """No build of one platform, no folder of one machine, no package of CUDA is pinned."""
    assert pins["torch"] == "2.13.0"
    assert not [version for version in pins.values() if "+" in version or "/" in version]
    assert not [name for name in pins if name.startswith("nvidia") or name == "funnel-search"]


def test_the_lock_holds_the_pinned_versions_with_hashes(pins: dict[str, str]) -> None:
    """Every package the service needs but torch, as constraints.txt pins it, each with its hashes, from nowhere named;
    `scripts/audit --lock` makes it again."""
    text = (ROOT / "requirements.lock").read_text("utf-8")
    found = re.findall(
        r"^([a-z0-9-]+)==([^\s;]+)[^\n]*((?:\\\n    --hash=sha256:[0-9a-f]{64} ?)+)$", text, re.MULTILINE
    )
    locked = {name: version for name, version, _ in found}
    assert len(found) == len(re.findall(r"^[a-z]", text, re.MULTILINE))
    needed = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    assert needed - set(locked) == {"torch"}
    assert {name: version for name, version in locked.items() if pins.get(name, version) != version} == {}
    assert len(set(locked) & set(pins)) > 40
    assert "://" not in text


def test_the_image_takes_locked_packages_alone() -> None:
    """Unless somebody who builds it says otherwise; the flag is in the environment of scripts/install."""
    image = (ROOT / "Dockerfile").read_text("utf-8")
    assert "\nARG LOCKED=1\n" in image
    assert image.index("ARG LOCKED=1") < image.index("RUN ./scripts/install")
    assert "requirements.lock" in image
    assert "${LOCKED-}" in (ROOT / "scripts" / "install").read_text("utf-8")


def test_the_image_can_see_what_it_copies() -> None:
    """.dockerignore lets through every file and folder that the Dockerfile takes from here."""
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    taken = {name for line in lines if line.startswith("COPY ") and "--from" not in line for name in line.split()[1:-1]}
    shown = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    assert {name for name in taken if not {name, name.split("/")[0]} & shown} == set()
    assert all((ROOT / name).exists() for name in taken)


def test_nothing_is_installed_for_nothing() -> None:
    """The service has no websockets and never reloads its code, so that it needs no packages for that."""
    locked = (ROOT / "requirements.lock").read_text("utf-8")
    assert "\nuvicorn==" in locked
    assert not [name for name in ("websockets", "watchfiles") if f"\n{name}==" in locked]
    assert "uvicorn" in {Requirement(text).name for text in PROJECT["dependencies"] if not Requirement(text).extras}


def test_container_is_locked_down(service: dict[str, Any]) -> None:
    """It reaches nobody but this machine, and can write nowhere but its volumes and /tmp."""
    assert service["ports"] == ["127.0.0.1:${PORT:-8000}:8000"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] == ["/tmp"]
    assert {volume.split(":")[1] for volume in service["volumes"]} == {"/data", "/cache"}


def test_container_without_a_key_is_for_this_machine_alone(service: dict[str, Any]) -> None:
    """Compose lets it listen without a key, and publishes it on the loopback address; the image by itself does not."""
    assert service["environment"]["FUNNEL_ALLOW_NO_KEY"] == "1"
    assert [port.split(":")[0] for port in service["ports"]] == ["127.0.0.1"]
    image = (ROOT / "Dockerfile").read_text("utf-8")
    assert "FUNNEL_HOST=0.0.0.0" in image
    assert "NO_KEY" not in image


def test_container_takes_a_key_from_a_secret() -> None:
    """The lines of docker-compose.yml that say "secret", without their #, are one."""
    lines = (ROOT / "docker-compose.yml").read_text("utf-8").splitlines()
    uncommented = [line.replace("# ", "", 1) if "# secret" in line else line for line in lines]
    compose = yaml.safe_load("\n".join(uncommented))
    assert compose["services"]["funnel"]["secrets"] == ["api-key"]
    assert compose["services"]["funnel"]["environment"]["FUNNEL_API_KEY_FILE"] == "/run/secrets/api-key"
    assert compose["secrets"] == {"api-key": {"file": "./api-key"}}


def test_env_file_switches_the_model(service: dict[str, Any]) -> None:
    """A line of .env reaches the service, which needs no .env to start, and cannot move it to another port."""
    assert service["env_file"] == [{"path": ".env", "required": False}]
    assert "FUNNEL_MODEL" not in service["environment"]
    assert service["environment"]["FUNNEL_PORT"] == "8000"


def test_image_runs_as_nobody_special() -> None:
    """The image has a numeric user and asks for its own health without further tools."""
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    assert "USER 10001:10001" in lines
    assert any("/readyz" in line and '"python"' in line for line in lines)


def packaged(folder: Path) -> set[str]:
    """The files of the packages under a folder."""
    files = (path for name in ("app", "index") for path in (folder / name).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)) for path in files if path.suffix != ".pyc"}


@pytest.mark.long
def test_pip_install(tmp_path: Path) -> None:
    """`pip install .` in a fresh environment gives a `funnel` that works, with every file of the packages.

    Its dependencies (torch is large) are those that run this test, put behind the installed package on the path.
    """
    source, venv = tmp_path / "source", tmp_path / "venv"
    for name in ("app", "index"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)

    def run(*command: object) -> str:
        words = [str(word) for word in command]
        return subprocess.run(words, cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True).stdout

    run(sys.executable, "-m", "venv", venv)
    run(venv / "bin/python", "-m", "pip", "install", "-q", "--no-deps", "-c", source / "constraints.txt", source)
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    assert packaged(site) == packaged(source)
    assert "Funnel search" in run(venv / "bin/funnel", "--help")
    assert str(site) in run(venv / "bin/python", "-c", "import app; print(app.__file__)")
    (tmp_path / "a.jsonl").write_text('{"id": "a", "text": "parse a date"}', "utf-8")
    run(venv / "bin/funnel", "ingest", "a.jsonl", "--data-dir", "data")
    assert "parse a date" in run(venv / "bin/funnel", "search", "dates", "--data-dir", "data")
