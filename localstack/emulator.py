"""Installs, starts and stops a local AWS. Used by `localstack/start`, `localstack/stop` and the end-to-end tests.

Everything it makes lies in `.venv-emu` at the root of the repository: the installed emulator, and `run/PORT` with the
log, the process id and the temporary files of each emulator that runs. Nothing else in the repository knows which
emulator answers; all of it sees AWS_ENDPOINT_URL only.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-emu"
REQUIREMENTS = ROOT / "localstack" / "requirements.txt"
COMPOSE_FILE = ROOT / "localstack" / "docker-compose.yml"
REGION = "us-east-1"
# Generous: it is ready within seconds on an idle machine, but a build may be running beside it.
READY_WITHIN_S = 90


class EmulatorError(Exception):
    """What the person who started it can read and mend."""


class PortTaken(Exception):
    """Something else listens on the port."""


def say(text):
    """Progress goes to stderr, since stdout is for `eval`."""
    print(text, file=sys.stderr, flush=True)


def endpoint(port):
    return f"http://127.0.0.1:{port}"


def client_environment(port):
    """The variables that point any AWS client at the emulator."""
    return {
        "AWS_ENDPOINT_URL": endpoint(port),
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


@contextlib.contextmanager
def locked(name):
    """Holds a lock between processes, so that tests started together install once."""
    with open(ROOT / f".venv-emu.{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install():
    """Makes the venv if it is missing or if the requirements have changed. Returns its `bin` directory."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    stamp = VENV / "installed"
    with locked("install"):
        if not stamp.exists() or stamp.read_text() != wanted:
            say(f"installing the emulator into {VENV} (once)")
            subprocess.run([sys.executable, "-m", "venv", VENV], check=True, stdout=sys.stderr)
            pip = [VENV / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, "--requirement", REQUIREMENTS], check=True, stdout=sys.stderr)
            stamp.write_text(wanted)
    return VENV / "bin"


def healthy(port):
    """Whether an emulator answers on the port. Both kinds are asked, since only their health pages differ."""
    for path in ("/_ministack/health", "/_localstack/health"):
        try:
            with urllib.request.urlopen(endpoint(port) + path, timeout=5) as answer:
                if answer.status == 200:
                    return True
        except (urllib.error.URLError, OSError):
            continue
    return False


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def docker_answers():
    """A client without an engine proves nothing, so the engine is asked."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def start(port, runner="auto"):
    """Starts an emulator on the port (0: any free one) unless one answers there. Returns the port.

    `runner` is `process`, `docker`, or `auto` for Docker where an engine answers.
    """
    if port and healthy(port):
        say(f"an emulator answers on {endpoint(port)} already")
        return port
    in_docker = runner == "docker" or (runner == "auto" and docker_answers())
    # Between drawing a free port and listening on it, somebody else may take it.
    for _ in range(1 if port else 5):
        chosen = port or free_port()
        try:
            start_in_docker(chosen) if in_docker else start_process(chosen)
        except PortTaken:
            shutil.rmtree(VENV / "run" / str(chosen), ignore_errors=True)
            continue
        say(f"the emulator answers on {endpoint(chosen)}")
        return chosen
    raise EmulatorError(f"port {port} is taken by something else" if port else "found no free port in five attempts")


def start_in_docker(port):
    compose(port, "--profile", "ministack", "up", "--detach")
    wait_until_healthy(port, lambda: None)


def start_process(port):
    binaries = install()
    run = VENV / "run" / str(port)
    shutil.rmtree(run, ignore_errors=True)
    temporary = run / "tmp"
    temporary.mkdir(parents=True)
    # Functions inherit this environment whole, so they get what AWS would give them and no more.
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        **client_environment(port),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "S3_DATA_DIR": str(run / "s3"),
        "TMPDIR": str(temporary),
    }
    with open(run / "log", "wb") as log:
        # A session of its own: stopping it then stops the functions it runs as well.
        process = subprocess.Popen(
            [binaries / "ministack"],
            env=environment, cwd=run, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )
    (run / "pid").write_text(str(process.pid))

    def check_alive():
        if process.poll() is not None:
            if "already in use" in (run / "log").read_text(errors="replace"):
                raise PortTaken
            raise EmulatorError(f"the emulator ended at once with status {process.returncode}; see {run / 'log'}")

    wait_until_healthy(port, check_alive)


def wait_until_healthy(port, check_alive):
    deadline = time.monotonic() + READY_WITHIN_S
    while not healthy(port):
        check_alive()
        if time.monotonic() > deadline:
            raise EmulatorError(f"no emulator answered on {endpoint(port)} within {READY_WITHIN_S} s")
        time.sleep(0.2)


def stop(port):
    """Stops what `start` started on the port, with everything it runs. Returns whether there was anything to stop."""
    run = VENV / "run" / str(port)
    pid_file = run / "pid"
    if not pid_file.exists():
        if healthy(port) and docker_answers():
            compose(port, "--profile", "*", "down")
            return True
        return False
    pid = int(pid_file.read_text())
    if is_ours(pid):
        end_session(pid)
    shutil.rmtree(run, ignore_errors=True)
    return True


def is_ours(pid):
    """Whether the process is still the emulator: after a reboot the id may be anybody's."""
    with contextlib.suppress(OSError):
        return b"ministack" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    if not shutil.which("ps"):
        return False
    shown = subprocess.run(["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False)
    return "ministack" in shown.stdout


def end_session(pid):
    for name, patience_s in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + patience_s
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, name)
            while time.monotonic() < deadline:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                os.killpg(pid, 0)
                time.sleep(0.05)


def compose(port, *arguments):
    environment = {**os.environ, "UPDRAFT_EMULATOR_PORT": str(port)}
    # One project per port, so that several can run beside each other.
    command = ["docker", "compose", "--project-name", f"updraft-{port}", "--file", str(COMPOSE_FILE), *arguments]
    done = subprocess.run(command, env=environment, stdout=sys.stderr, check=False)
    if done.returncode != 0:
        raise EmulatorError(f"`{' '.join(command)}` failed; the Docker engine's message is above")
