"""A SuperLink, two SuperNodes and two devices as processes, and a round among them.

The server's process has no device and no device's key; each device listens on a socket
of its own, to which the courier at its node takes every request.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from fedpref.simulation import simulate
from fedpref.simulation.elsewhere import issue
from fedpref.transport import in_process

PEOPLE = 2
BIN = Path(sys.executable).parent
READY_S, RUN_S = 300, 900  # bounds, for a busy machine
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(home, **more):
    """A place of its own for what Flower writes, and our package before others."""
    home.mkdir(exist_ok=True)
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"  # it starts its own tools
    return {**os.environ, **QUIET, "PATH": path, "FLWR_HOME": str(home), **more}


@contextmanager
def process(log, *command, env):
    """A process for as long as it is needed; it and all that it started end after."""
    with log.open("wb") as out:
        started = subprocess.Popen(
            [str(word) for word in command],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=log.parent,
        )
    try:
        yield started
    finally:
        end(started)


def end(started):
    """End a process and whatever it has started, which Flower detaches from it."""
    others = descendants(started.pid)
    started.terminate()
    try:
        started.wait(timeout=15)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()
    for pid in others:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def descendants(pid):
    """Numbers of the processes that ``pid`` has started, and they."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            stat = (entry / "stat").read_text()
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:  # which grows
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def until(what, seconds, found, running=()):
    """What ``found`` returns, once that is true; all of ``running`` must be alive."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := found():
            return result
        assert all(each.poll() is None for each in running), f"{what}: has ended"
        time.sleep(0.5)
    raise AssertionError(f"{what}: not within {seconds} s")


@pytest.fixture
def devices(scenario, tmp_path):
    """Both devices' sockets, each with its process behind it."""
    identities = tmp_path / "identities"
    issue(identities, PEOPLE)
    script, running = Path(__file__).parent / "device_process.py", []
    with ExitStack() as stack:
        for number in range(1, PEOPLE + 1):
            log, sock = tmp_path / f"device-{number}.log", tmp_path / f"{number}.sock"
            words = (sys.executable, script, scenario, identities, number, sock)
            env = environment(tmp_path / "unused")
            running.append(stack.enter_context(process(log, *words, env=env)))
        for number in range(1, PEOPLE + 1):
            log = tmp_path / f"device-{number}.log"
            ready = partial(says, log, "ready")
            until(f"device {number}", READY_S, ready, running)
        yield identities


@pytest.fixture
def superlink(tmp_path, devices):
    """Its port; two SuperNodes look for work there, each beside its device."""
    port = free_port()
    with ExitStack() as stack:
        link = stack.enter_context(
            process(
                tmp_path / "superlink.log",
                *(BIN / "flower-superlink", "--insecure", "--host", "127.0.0.1"),
                *("--port", port, "--disable-runtime-dependency-installation"),
                env=environment(tmp_path / "superlink"),
            )
        )
        until("the SuperLink", 60, partial(answers, port), [link])
        for number in range(1, PEOPLE + 1):
            env = environment(
                tmp_path / f"node-{number}",
                FEDPREF_ENDPOINT=f"unix:{tmp_path / f'{number}.sock'}",
                FEDPREF_DEVICE=str(number),
            )
            words = (BIN / "flower-supernode", "--insecure", "--host", "127.0.0.1")
            words += ("--port", free_port(), "--superlink", f"127.0.0.1:{port}")
            log = tmp_path / f"node-{number}.log"
            stack.enter_context(process(log, *words, env=env))
        yield port


def processes_of(folder):
    """Command lines that name our folder; there are none when all have ended."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if any(str(folder).encode() in word for word in words):
                found.append(words)
    return found


def says(log, line):
    return line in log.read_text().splitlines()


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.processes
def test_a_round_among_processes_gives_the_bytes_of_one_in_process(
    superlink, devices, scenario, root, tmp_path
) -> None:
    app, home = tmp_path / "app", tmp_path / "cli"
    for folder in ("clients", "server"):
        shutil.copytree(root / folder, app / folder)
    shutil.copy(root / "pyproject.toml", app)
    env = environment(home)
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "trial"\n\n[superlink.trial]\n'
        f'address = "127.0.0.1:{superlink}"\ninsecure = true\n'
    )

    def flwr(*words):
        return subprocess.run(
            [str(BIN / "flwr"), *words],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout

    out = tmp_path / "run"
    settings = f'scenario="{scenario}" out="{out}" identities="{devices}" wait=300'
    flwr("run", str(app), "trial", "--run-config", settings)

    log = tmp_path / "superlink.log"  # to ask flwr takes seconds of a core each time
    until("the run", RUN_S, lambda: "Finished task" in log.read_text())

    def finished():
        (run,) = json.loads(flwr("list", "trial", "--format", "json"))["runs"]
        return run["status"] if run["status"].startswith("finished") else None

    status = until("the end of the run", 60, finished)
    assert status == "finished:completed", log.read_text()  # flwr run exits with 0
    report = json.loads((out / "report.json").read_text())
    assert (report["masked"], report["rounds"], report["clients"]["train"]) == (
        True,
        1,
        PEOPLE,
    )
    here = simulate(scenario, tmp_path / "here", carry=in_process.carry).folder
    for name in ("head.safetensors", "adapter/adapter_model.safetensors"):
        if (here / name).exists():
            assert (out / name).read_bytes() == (here / name).read_bytes()
    (row,) = (out / "metrics.jsonl").read_text().splitlines()
    assert json.loads(row)["survivors"] == PEOPLE
