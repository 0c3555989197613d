"""The image and its companions in `packaging/`: read, and run without Docker, the command as process 1."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from antiphon.address import DEFAULT_PORT
from antiphon.store_address import is_postgresql
from support.documents import ROOT, blocks, read
from support.namespaces import run_apart
from support.processes import ANTIPHON, PASSWORD, clean_environment, run_antiphon
from support.serving import seed
from support.wheels import SOURCES

DOCKERFILE = ROOT / "packaging/Dockerfile"
OPTIONS = ROOT / "packaging/container.toml"
DATA = "/var/lib/antiphon"
STOP_SECONDS = 30
"""Promise 24."""


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile."""
    lines = [line for line in DOCKERFILE.read_text("utf-8").splitlines() if not line.startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in whole if line)]


def stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage, from its FROM on."""
    found: list[list[tuple[str, str]]] = []
    for name, rest in instructions():
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest))
    return found


def of_image(name: str) -> str:
    """Return what an instruction of the last stage says, which must be there once."""
    (rest,) = (rest for each, rest in stages()[-1] if each == name)
    return rest


def variables() -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(of_image("ENV")))


def health_check() -> list[str]:
    return list(json.loads(of_image("HEALTHCHECK").partition("CMD ")[2]))


# --- the files -----------------------------------------------------------------------------------------------


def test_the_first_stage_copies_what_a_wheel_is_built_of() -> None:
    copied = [rest.split()[:-1] for name, rest in stages()[0] if name == "COPY"]
    assert {name for names in copied for name in names} == set(SOURCES)


def test_the_second_stage_is_as_small_and_has_no_tools() -> None:
    first, second = stages()
    assert first[0][1].split()[0] == second[0][1], "the same Debian, whose Python the environment refers to"
    installed = " ".join(rest for name, rest in second if name == "RUN")
    assert "--no-install-recommends python3 && rm -rf /var/lib/apt/lists/*" in installed
    assert not re.search(r"gcc|pip|venv", installed)


def test_the_process_is_a_user_of_its_own_with_a_data_folder_that_it_alone_opens() -> None:
    made = " ".join(rest for name, rest in stages()[-1] if name == "RUN")
    assert of_image("USER") == "antiphon"
    assert f"--home-dir {DATA}" in made
    assert f"install -d -o antiphon -g antiphon -m 700 {DATA}" in made
    assert [of_image("VOLUME"), variables()["ANTIPHON_DATA"]] == [DATA, DATA]
    names = [name for name, _ in stages()[-1]]
    assert names.index("RUN") < names.index("VOLUME"), "a volume takes owner and mode from the image"


def test_the_options_are_where_the_image_looks_for_them() -> None:
    assert f"packaging/container.toml {variables()['ANTIPHON_CONFIG']}" in [
        rest for name, rest in stages()[-1] if name == "COPY"
    ]
    assert of_image("EXPOSE") == str(DEFAULT_PORT)


def test_a_start_with_the_options_of_the_image_needs_nothing_more(tmp_path: Path) -> None:
    done = run_antiphon(
        *json.loads(of_image("CMD")), "--check", "--json", home=tmp_path,
        ANTIPHON_CONFIG=str(OPTIONS), ANTIPHON_DATA=str(tmp_path / "data"), ANTIPHON_PORT="0",
        ANTIPHON_STATUS="localhost:0",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert {each["what"]: each["code"] for each in json.loads(done.stdout)}.keys() >= {"log", "store", "status"}


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "packaging/compose.yaml").read_text("utf-8")))


def test_compose_starts_antiphon_behind_a_healthy_database() -> None:
    server, database = (compose()["services"][name] for name in ("antiphon", "database"))
    store = server["environment"]["ANTIPHON_STORE"]  # which commands beside the server take, too
    assert is_postgresql(store)
    assert store == "postgresql://antiphon@database/antiphon"
    assert "command" not in server
    assert server["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert "pg_isready" in database["healthcheck"]["test"]
    assert [database["environment"][f"POSTGRES_{name}"] for name in ("USER", "DB")] == ["antiphon", "antiphon"]
    assert (
        ROOT / "packaging" / server["build"]["context"] / server["build"]["dockerfile"]
    ).resolve() == DOCKERFILE
    assert int(server["stop_grace_period"].removesuffix("s")) > STOP_SECONDS
    assert server["ports"] == [f"{DEFAULT_PORT}:{DEFAULT_PORT}"]
    assert server["volumes"] == [f"data:{DATA}"]


def test_the_password_of_compose_is_in_files_alone_which_are_never_part_of_an_image(tmp_path: Path) -> None:
    described = compose()
    server, database = (described["services"][name] for name in ("antiphon", "database"))
    for service, variable in ((server, "PGPASSFILE"), (database, "POSTGRES_PASSWORD_FILE")):
        (secret,) = service["secrets"]
        assert service["environment"][variable] == f"/run/secrets/{secret}"
    files = {name: Path(each["file"]) for name, each in described["secrets"].items()}
    assert {path.parent for path in files.values()} == {Path("../secrets")}, "beside `packaging/`, which is copied"
    (block,) = (block for block in blocks(read("docs/operating.md")) if block.about == "secrets")
    subprocess.run(["bash", "-eu", "-c", block.text], cwd=tmp_path, check=True, timeout=60)
    made = {name: tmp_path / "secrets" / path.name for name, path in files.items()}
    password = made["password"].read_text("utf-8").strip()
    assert re.fullmatch(r"[A-Za-z0-9]{30,}", password)
    assert made["pgpass"].read_text("utf-8") == f"database:5432:antiphon:antiphon:{password}\n"
    assert {path.stat().st_mode & 0o777 for path in made.values()} == {0o600}
    assert "/secrets/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()


# --- the command as process 1 --------------------------------------------------------------------------------

SCRIPT = """
mount -t tmpfs tmpfs /var/lib
mkdir "$ANTIPHON_DATA"
mount --bind "$HOME/data" "$ANTIPHON_DATA"
ip link set lo up
cd "$ANTIPHON_DATA"
unshare --pid --fork --kill-child --mount-proc {command} >log.txt &
server=$!
until grep -q ' listening ' log.txt; do sleep 0.05; done
first=$(cat /proc/$server/task/$server/children)
{health}
nsenter --target $first --pid sh -c '(touch orphaned &)'
while [ ! -e orphaned ] || ps -o stat= --ppid $first | grep -q '^Z'; do sleep 0.05; done

echo hello | antiphon connect localhost --name ann --password-file "$HOME/password.txt" >answer.txt &
client=$!
until [ -e asked ]; do sleep 0.05; done
kill -TERM $first
until grep -q ' stopping ' log.txt; do sleep 0.05; done
touch may-answer
wait $client || true
wait $server && code=0 || code=$?
echo "code $code, answer $(cat answer.txt)"
"""
"""A container's file system, network and processes; `first` is the number that process 1 has outside.

One more command in it, as `docker exec` runs them, leaves an orphan to process 1.
"""
PROGRAM = """exec:sh -c 'while read line; do
    touch asked; until [ -e may-answer ]; do sleep 0.05; done; echo "$line"
done'"""
"""A program that answers once the server has been told to stop."""


def test_as_process_1_the_command_answers_before_it_stops_and_leaves_no_zombies(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    (tmp_path / "password.txt").write_text(PASSWORD + "\n")
    command = [*json.loads(of_image("ENTRYPOINT")), *json.loads(of_image("CMD")), PROGRAM, "--exec-pause", "0"]
    script = SCRIPT.format(command=shlex.join(command), health=shlex.join(health_check()))
    path = f"{ANTIPHON.parent}:{os.environ['PATH']}"
    environment = clean_environment(tmp_path, PATH=path, ANTIPHON_CONFIG=str(OPTIONS), ANTIPHON_DATA=DATA)
    done = run_apart(script, environment, tmp_path, "the command of the image as process 1")
    assert (done.returncode, done.stdout) == (0, "code 0, answer hello\n"), done.stderr
