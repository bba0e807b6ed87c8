"""The compose stack as a policy: what is pinned, published, shared and refused. Read from the files; no Docker runs."""

import ast
import importlib.util
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import pytest
import yaml

from jobs.core.planning import RATES_FILE

pytestmark = pytest.mark.slow  # lakes and files: together they would double the quick slice

REPOSITORY = Path(__file__).resolve().parents[1]
COMPOSE_TEXT = (REPOSITORY / "docker-compose.yaml").read_text()
DOCKERFILE = (REPOSITORY / "docker" / "Dockerfile").read_text().replace("\\\n", " ")
PROFILES = ("cpu", "gpu", "cpu,cluster", "gpu,cluster")
ONE_SHOT = {"airflow-init"}
FOREIGN = {"postgres", "redis"}
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::([-?])([^}]*))?\}")


def loaded(path: Path) -> ModuleType:
    """A file as a module, without importing what is around it."""
    spec = importlib.util.spec_from_file_location(f"compose_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_env, init, health = (loaded(REPOSITORY / "docker" / f"{name}.py") for name in ("make_env", "init", "health"))


def interpolated(text: str, env: dict[str, str]) -> str:
    """The text with ${NAME}, ${NAME:-default} and ${NAME:?message} put in."""

    def value(found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        if kind == "?":
            assert env.get(name), rest
        return env.get(name) or (rest if kind == "-" else "")

    return VARIABLE.sub(value, text)


def secrets_made() -> dict[str, str]:
    lines = make_env.filled((REPOSITORY / ".env.example").read_text(), set()).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


@cache
def stack() -> dict[str, Any]:
    return dict(yaml.safe_load(interpolated(COMPOSE_TEXT, secrets_made())))


def services(profiles: str | None = None) -> dict[str, dict[str, Any]]:
    """Services that start with these profiles; None: all."""
    found: dict[str, dict[str, Any]] = stack()["services"]
    active = set(profiles.split(",")) if profiles else None
    return {
        name: one
        for name, one in found.items()
        if active is None or "profiles" not in one or active & set(one["profiles"])
    }


def airflow_services() -> dict[str, dict[str, Any]]:
    return {name: one for name, one in services().items() if "AIRFLOW_HOME" in one.get("environment", {})}


def queues_of(service: dict[str, Any]) -> list[str]:
    words = service.get("command", [])
    return words[words.index("--queues") + 1].split(",") if "--queues" in words else []


def targets() -> dict[str, str]:
    """Target of the Dockerfile -> its instructions."""
    parts = re.split(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[2::3], parts[3::3], strict=True))


def test_services_are_those_of_the_design() -> None:
    always = {"postgres", "redis", "app", "airflow-init"} | {
        f"airflow-{part}" for part in ("api-server", "scheduler", "dag-processor", "triggerer")
    }
    assert set(services("cpu")) == always | {"worker"}
    assert set(services("gpu")) == always | {"worker-default", "worker-gpu"}
    assert set(services("cpu,cluster")) == always | {"worker", "spark-master", "spark-worker"}


def test_file_is_what_the_published_schema_wants() -> None:
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    checker = shutil.which("check-jsonschema", path=places)
    assert checker, "check-jsonschema brings the published compose schema and is in the lock: run make setup"
    command = [checker, "--builtin-schema", "vendor.compose-spec", str(REPOSITORY / "docker-compose.yaml")]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_compose_itself_accepts_every_combination_of_profiles(tmp_path: Path) -> None:
    compose = [name for name in ("docker-compose",) if shutil.which(name)] or ["docker", "compose"]
    if subprocess.run([*compose, "version"], capture_output=True).returncode:
        pytest.skip("Docker's compose is not installed")
    shutil.copy(REPOSITORY / "docker-compose.yaml", tmp_path)
    shutil.copy(REPOSITORY / ".env.example", tmp_path)
    make_env.make_env(tmp_path)
    for profiles in PROFILES:
        command = [*compose, "config", "--services"]
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "COMPOSE_PROFILES": profiles}
        shown = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert set(shown.stdout.split()) == set(services(profiles)), shown.stderr


@pytest.mark.parametrize("profiles", PROFILES)
def test_each_queue_has_exactly_one_server(profiles: str) -> None:
    served = [queue for one in services(profiles).values() for queue in queues_of(one)]
    assert sorted(served) == ["default", "t4"]


def test_queues_and_pools_are_those_of_the_dag() -> None:
    dag = (REPOSITORY / "dags" / "arxiv_assistant.py").read_text()
    assert set(re.findall(r'"pool": "(\w+)"', dag)) == set(init.POOLS)
    assert set(re.findall(r'"queue": "(\w+)"', dag)) | {"default"} == {"default", "t4"}


def test_gpu_is_reserved_by_its_worker_alone() -> None:
    assert [name for name, one in services().items() if "deploy" in one or "gpus" in one] == ["worker-gpu"]
    worker = services()["worker-gpu"]
    [device] = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert worker["command"][worker["command"].index("--concurrency") + 1] == "1"


def test_workers_may_end_what_they_run() -> None:
    assert services()["worker-gpu"]["stop_grace_period"] == "6h"
    assert {one["environment"]["DUMB_INIT_SETSID"] for one in airflow_services().values()} == {"0"}


def test_message_is_not_delivered_twice_while_its_task_runs() -> None:
    """A worker holds the next message while it runs a task, so twice the longest task."""
    dag = ast.parse((REPOSITORY / "dags" / "arxiv_assistant.py").read_text())
    hours = [
        node.left.value
        for node in ast.walk(dag)
        if isinstance(node, ast.BinOp) and isinstance(node.left, ast.Constant) and ast.unparse(node.right) == "HOURS"
    ]
    assert len(hours) >= 3
    name = "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"
    assert int(services()["worker"]["environment"][name]) > 2 * max(hours) * 3600


def test_airflow_services_share_one_environment() -> None:
    environments = {name: one["environment"] for name, one in airflow_services().items() if name not in ONE_SHOT}
    assert len(environments) == 7
    assert all(environment == stack()["x-airflow-environment"] for environment in environments.values())
    shared = stack()["x-airflow-environment"]
    assert {**services()["airflow-init"]["environment"], **shared} == services()["airflow-init"]["environment"]


def test_airflow_knows_every_option_that_is_set() -> None:
    """A misspelt option is passed over by Airflow without a word."""
    spec = importlib.util.find_spec("airflow")
    assert spec is not None
    home = Path(str(spec.origin)).parent
    known = yaml.safe_load((home / "config_templates" / "config.yml").read_text())
    known |= loaded(home / "providers" / "celery" / "get_provider_info.py").get_provider_info()["config"]
    given = [name for name in stack()["x-airflow-environment"] if name.startswith("AIRFLOW__")]
    assert len(given) > 15
    for name in given:
        section, option = name.lower().split("__")[1:]
        assert option in known[section]["options"], name


def test_log_in_is_not_the_simple_one() -> None:
    managers = {
        one["environment"]["AIRFLOW__CORE__AUTH_MANAGER"].rsplit(".")[-1] for one in airflow_services().values()
    }
    assert managers == {"FabAuthManager"}


def test_every_image_is_pinned() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    for name, one in services().items():
        image, _, tag = one["image"].rpartition(":")
        assert re.fullmatch(r"\d+\.\d+(\.\d+)?(-alpine|-bookworm)?", tag), name
        assert (name in FOREIGN) == ("build" not in one)
        if name not in FOREIGN:
            assert tag == version
            assert image == f"spark-arxiv/{one['build']['target']}"


def test_redis_is_above_its_security_floor() -> None:
    tag = services()["redis"]["image"].split(":")[1].split("-")[0]
    assert tuple(map(int, tag.split("."))) >= (8, 6, 3)


def test_ports_are_on_loopback_and_only_two() -> None:
    ports = {name: one["ports"] for name, one in services().items() if "ports" in one}
    assert ports == {"airflow-api-server": ["127.0.0.1:8080:8080"], "app": ["127.0.0.1:7860:7860"]}


def test_no_service_may_do_more_than_it_needs() -> None:
    for name, one in services().items():
        assert one["read_only"] is True, name
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert re.fullmatch(r"[1-9]\d*:\d+", one["user"]), name
        assert {"pids_limit", "mem_limit", "logging", "tmpfs"} <= one.keys(), name
        assert not {"privileged", "cap_add", "devices", "network_mode", "pid", "ipc", "env_file"} & one.keys(), name
        assert "docker.sock" not in str(one), name


def test_every_long_running_service_has_a_health_check_and_comes_back() -> None:
    for name, one in services().items():
        assert ("healthcheck" in one) == (name not in ONE_SHOT), name
        assert one["restart"] == ("no" if name in ONE_SHOT else "unless-stopped"), name
        if "healthcheck" in one and name not in FOREIGN:
            assert one["healthcheck"]["test"][:3] == ["CMD", "python", "docker/health.py"], name


def test_worker_answers_under_the_name_that_is_asked() -> None:
    for name in ("worker", "worker-default", "worker-gpu"):
        one = services()[name]
        node = one["command"][one["command"].index("--celery-hostname") + 1].replace("%h", one["hostname"])
        assert one["healthcheck"]["test"][-1] == node


def test_networks_let_nobody_reach_more_than_he_needs() -> None:
    networks = {name: set(one["networks"]) for name, one in services().items()}
    assert stack()["networks"]["control"] == {"internal": True}
    assert networks["postgres"] == networks["redis"] == {"control"}
    assert networks["app"] == {"edge", "compute"}
    assert networks["spark-master"] == networks["spark-worker"] == {"compute"}
    assert {name for name, found in networks.items() if "edge" in found} == {"app", "airflow-api-server"}


def test_app_reads_and_holds_one_secret() -> None:
    app = services()["app"]
    assert all(volume.endswith(":ro") for volume in app["volumes"])
    assert set(app["environment"]) == {"LAKE", "APP_TOKEN", "HF_HOME"}


def test_every_volume_is_declared_and_used() -> None:
    used = {volume.split(":")[0] for one in services().values() for volume in one.get("volumes", [])}
    assert used == set(stack()["volumes"])


def test_lake_lies_at_one_path_wherever_it_is_seen() -> None:
    places = {volume.split(":")[1] for one in services().values() for volume in one["volumes"] if "lakes:" in volume}
    assert places == {"/opt/spark-arxiv/lakes"}
    lakes = {one["environment"]["LAKE"] for one in services().values() if "LAKE" in one.get("environment", {})}
    assert lakes == {"/opt/spark-arxiv/lakes/sample"}


def test_secrets_come_from_env_and_stand_in_no_argument() -> None:
    for line in COMPOSE_TEXT.splitlines():
        if re.search(r"(PASSWORD|SECRET|TOKEN|_KEY)\w*: ", line):
            assert "${" in line, line
    made = {name: value for name, value in secrets_made().items() if name in init.SECRETS}
    assert len(made) == len(init.SECRETS)
    for name, one in services().items():
        words = " ".join([*map(str, one.get("command", [])), *map(str, one.get("healthcheck", {}).get("test", []))])
        assert not [secret for secret in made.values() if secret in words], name


def test_every_variable_is_in_the_example_and_the_other_way_round() -> None:
    used = {found[0] for found in VARIABLE.findall(COMPOSE_TEXT)}
    assert used == set(secrets_made())


def test_env_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / ".env.example", tmp_path)
    path = make_env.make_env(tmp_path)
    first = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "<" not in "".join(line for line in first.splitlines() if not line.startswith("#"))
    make_env.make_env(tmp_path)
    assert path.read_text() == first


def test_env_of_an_older_version_is_completed(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / ".env.example", tmp_path)
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=kept-as-it-was-before\nAPP_PORT=9000")
    lines = make_env.make_env(tmp_path).read_text().splitlines()
    assert lines[:2] == ["POSTGRES_PASSWORD=kept-as-it-was-before", "APP_PORT=9000"]
    assert {line.split("=")[0] for line in lines} == set(secrets_made())
    assert len(lines) == len(secrets_made())


def test_env_is_ignored_by_git() -> None:
    assert ".env" in (REPOSITORY / ".gitignore").read_text().splitlines()


def test_init_accepts_what_make_up_made(tmp_path: Path) -> None:
    assert init.complaints(secrets_made(), tmp_path) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AIRFLOW_ADMIN_PASSWORD", "admin", "fewer than 16"),
        ("POSTGRES_PASSWORD", "<secret> of somebody", "placeholder"),
        ("COMPOSE_PROFILES", "cpu,gpu", "one of them"),
        ("COMPOSE_PROFILES", "", "one of them"),
        ("COMPOSE_PROFILES", "cpu,cluster", "spark://spark-master:7077"),
        ("SPARK_MASTER", "spark://spark-master:7077", "another master"),
    ],
)
def test_init_refuses(name: str, value: str, said: str, tmp_path: Path) -> None:
    [sentence] = init.complaints(secrets_made() | {name: value}, tmp_path)
    assert said in sentence


def test_init_refuses_lakes_that_it_cannot_write(tmp_path: Path) -> None:
    [sentence] = init.complaints(secrets_made(), tmp_path / "absent")
    assert "cannot be written" in sentence


@pytest.mark.airflow
@pytest.mark.slow
def test_init_makes_pools_and_the_user_in_a_real_airflow(tmp_path: Path) -> None:
    (tmp_path / "lakes").mkdir()
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AIRFLOW_HOME": str(tmp_path / "airflow")}
    env |= {name: str(value) for name, value in stack()["x-airflow-environment"].items() if "AUTH_MANAGER" in name}
    env |= secrets_made() | {"LAKE": str(tmp_path / "lakes" / "sample"), "GPU_SLOTS": "2"}
    env |= {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db"}
    env |= {"AIRFLOW__CORE__LOAD_EXAMPLES": "false", "AIRFLOW__CORE__EXECUTOR": "LocalExecutor"}
    done = subprocess.run([sys.executable, "docker/init.py"], cwd=REPOSITORY, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert secrets_made()["AIRFLOW_ADMIN_PASSWORD"] not in done.stdout + done.stderr

    def listed(*words: str) -> Any:
        command = [sys.executable, "-m", "airflow", *words, "list", "--output", "json"]
        return json.loads(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)

    slots = {pool["pool"]: int(pool["slots"]) for pool in listed("pools") if pool["pool"] in init.POOLS}
    assert slots == {"arxiv": 1, "spark": 1, "gpu": 2}
    assert [(user["username"], user["roles"]) for user in listed("users")] == [("admin", ["Admin"])]


@pytest.fixture
def airflow_health() -> Iterator[str]:
    """A server that says what Airflow's API server says of its components."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(
                json.dumps({"triggerer": {"status": "healthy"}, "dag_processor": {"status": None}}).encode()
            )

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_health_follows_what_the_api_server_says(airflow_health: str) -> None:
    assert health.trouble(["http", airflow_health]) is None
    assert health.trouble(["airflow", "triggerer", airflow_health]) is None
    assert health.trouble(["airflow", "dag_processor", airflow_health]) == "dag_processor is None"


def test_health_of_a_server_that_is_away_is_a_failure() -> None:
    command = [sys.executable, str(REPOSITORY / "docker" / "health.py"), "http", "http://127.0.0.1:9/"]
    asked = subprocess.run(command, capture_output=True, text=True)
    assert asked.returncode == 1
    assert "refused" in asked.stderr


def entrypoint(home: Path, **env: str) -> str:
    command = ["sh", str(REPOSITORY / "docker" / "entrypoint.sh"), "echo", "started"]
    env = {"PATH": os.environ["PATH"], "HOME": str(home), **env}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def test_cluster_secret_goes_into_a_file_of_its_owner(tmp_path: Path) -> None:
    assert entrypoint(tmp_path, SPARK_MASTER="spark://spark-master:7077", SPARK_SECRET="s3cret") == "started\n"
    path = tmp_path / "spark-conf" / "spark-defaults.conf"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {"spark.authenticate true", "spark.authenticate.secret s3cret"} <= set(path.read_text().splitlines())


def test_spark_on_one_machine_keeps_its_own_defaults(tmp_path: Path) -> None:
    assert entrypoint(tmp_path, SPARK_MASTER="local[*]", SPARK_SECRET="s3cret") == "started\n"
    assert list(tmp_path.iterdir()) == []


def test_every_target_of_the_stack_runs_without_rights() -> None:
    wanted = {one["build"]["target"] for one in services().values() if "build" in one}
    assert wanted == {"airflow", "gpu", "spark", "app"}
    for name in wanted:
        body = targets()[name].splitlines()
        assert "USER 10001:10001" in body, name
        after = body[body.index("USER 10001:10001") + 1 :]
        assert [line.split()[0] for line in after if line] == ["ENTRYPOINT"], name
        assert '"dumb-init", "--"' in targets()[name], name


def test_every_base_is_pinned_and_of_our_python() -> None:
    assert re.findall(r"^ARG (\S+)$", DOCKERFILE, flags=re.MULTILINE) == ["PYTHON_IMAGE=python:3.12.13-slim-bookworm"]
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE))
    assert bases == {"${PYTHON_IMAGE}", "system"}


@pytest.mark.parametrize(
    ("target", "lock"),
    [("packages", "requirements.txt"), ("packages-gpu", "requirements-gpu.txt"), ("packages-app", "requirements.txt")],
)
def test_environments_are_installed_from_the_locks(target: str, lock: str) -> None:
    body = targets()[target]
    assert f"COPY {lock} /build/" in body
    assert "--no-deps" in body
    assert ("--torch-backend cpu" in body) == (lock == "requirements.txt")


def test_app_has_no_pymupdf() -> None:
    pattern = re.search(r"--extended-regexp '([^']+)'", targets()["packages-app"])
    assert pattern
    lock = (REPOSITORY / "requirements.txt").read_text().splitlines()
    left_out = {line.split("==")[0] for line in lock if re.match(pattern[1], line)}
    assert {"pymupdf-lite", "pyspark", "apache-airflow"} <= left_out
    assert "COPY --from=packages-app" in targets()["app"]


def test_images_get_no_secret() -> None:
    assert not re.search(r"(?i)^(ARG|ENV).*(password|secret|token|_key)", DOCKERFILE, flags=re.MULTILINE)
    assert "ADD " not in DOCKERFILE


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets a path of the repository into the build. Its last rule that fits wins."""
    sent = True
    for rule in (REPOSITORY / ".dockerignore").read_text().splitlines():
        if not rule or rule.startswith("#"):
            continue
        parts = [re.escape(part).replace(r"\*", "[^/]*") for part in rule.removeprefix("!").split("**/")]
        if re.fullmatch("(.*/)?".join(parts) + "(/.*)?", path):
            sent = rule.startswith("!")
    return sent


def test_images_are_built_from_code_alone() -> None:
    kept_out = ("lakes/sample/LAKE.json", ".venv/bin/python", ".env", ".git/config", ".stack/keys.json", "tests/x.py")
    assert [path for path in (*kept_out, "jobs/core/__pycache__/lake.pyc", "notes.txt") if is_sent(path)] == []
    assert is_sent("jobs/core/lake.py")


@pytest.mark.parametrize("target", ["airflow", "gpu"])
def test_whoever_plans_has_the_rates(target: str) -> None:
    path = RATES_FILE.relative_to(REPOSITORY)
    assert f"COPY {path} ./{path.parent}/" in targets()[target]


def test_what_the_images_copy_is_there_and_sent() -> None:
    copies = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, flags=re.MULTILINE)
    sources = {source for words in copies for source in words.split()[:-1]}
    assert len(sources) > 6
    for source in sources:
        assert (REPOSITORY / source).exists(), source
        assert is_sent(source), source
