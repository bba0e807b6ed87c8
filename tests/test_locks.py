"""The two locks: exact, consistent with pyproject.toml, and with no CUDA on a machine without a GPU."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
LOCKS = ("requirements.txt", "requirements-gpu.txt")
# The environments that each lock is for; markers in the lock choose among pins.
PYTHONS = {"requirements.txt": ("3.11", "3.12", "3.13"), "requirements-gpu.txt": ("3.12",)}


def pins(lock: str, python: str) -> dict[str, str]:
    """name -> version that the lock gives a Linux machine with this Python."""
    environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.5"}
    lines = [line for line in (REPOSITORY / lock).read_text().splitlines() if line and not line.startswith("#")]
    requirements = [Requirement(line) for line in lines]
    chosen = [one for one in requirements if one.marker is None or one.marker.evaluate(environment)]
    return {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in chosen}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_is_an_exact_version(lock: str) -> None:
    for python in PYTHONS[lock]:
        assert len(found := pins(lock, python)) > 250
        assert all(re.fullmatch(r"[0-9][0-9A-Za-z.+!]*", version) for version in found.values())


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_satisfies_the_direct_dependencies(lock: str) -> None:
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    for python in PYTHONS[lock]:
        found = pins(lock, python)
        for text in wanted:
            direct = Requirement(text)
            name = canonicalize_name(direct.name)
            name = "faiss-gpu-cuvs" if name == "faiss-cpu" and "gpu" in lock else name
            assert name in found, f"{lock} lacks {name}: run make lock"
            assert direct.specifier.contains(found[name]), f"{lock} has {name} {found[name]}, pyproject wants {direct}"


@pytest.mark.parametrize("lock", LOCKS)
def test_pyspark_and_its_client_are_one_version(lock: str) -> None:
    """They own the same files: the one that is installed last would win."""
    for python in PYTHONS[lock]:
        assert pins(lock, python)["pyspark"] == pins(lock, python)["pyspark-client"]


def test_lock_without_a_gpu_has_no_cuda_package() -> None:
    cuda = [name for python in ("3.11", "3.12", "3.13") for name in pins("requirements.txt", python)]
    assert not [name for name in cuda if name.startswith(("nvidia-", "cuda-")) or name == "triton"]


def test_installed_environment_is_the_lock() -> None:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    installed = {canonicalize_name(d.metadata["Name"]): d.version.split("+")[0] for d in distributions()}
    if not [name for name in installed if name.startswith("nvidia-")]:
        wanted = pins("requirements.txt", python)
        assert {name: installed.get(name) for name in wanted} == wanted
    else:
        wanted = pins("requirements-gpu.txt", python)
        assert {name: installed.get(name) for name in wanted} == wanted


@pytest.mark.slow
def test_installed_packages_fit_together() -> None:
    checked = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
