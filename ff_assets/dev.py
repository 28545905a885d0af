"""Dagster's UI and MLflow's, side by side, on the instance and the store that every run uses."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ff_assets.settings import PROJECT_ROOT, Settings

_HOST = "127.0.0.1"
_TOOLS = Path(sys.executable).parent
_STOP_SECONDS = 30


@dataclass(frozen=True)
class Server:
    """A web server to run: its name for people, its port, and the command that starts it."""

    name: str
    port: int
    command: tuple[str, ...]

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{_HOST}:{self.port}"

    def answers(self) -> bool:
        """Tell whether anything accepts connections on its port."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((_HOST, self.port)) == 0

    def start(self) -> subprocess.Popen[bytes]:
        """Start it, in a session of its own so that Ctrl-C reaches it through this process only."""
        # MLflow's job runner (eight more processes) serves features that nothing here uses.
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        return subprocess.Popen(
            self.command,
            cwd=PROJECT_ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def servers(settings: Settings, dagster_port: int, mlflow_port: int) -> list[Server]:
    """Give Dagster's server, and MLflow's unless a tracking server already runs elsewhere."""

    def tool(name: str, command: str, port: int, *options: str) -> tuple[str, ...]:
        return (str(_TOOLS / name), command, "--host", _HOST, "--port", str(port), *options)

    uri, artifacts = settings.mlflow_tracking_uri, str(settings.mlflow_artifacts)
    dagster = Server("Dagster", dagster_port, tool("dg", "dev", dagster_port))
    if uri.startswith(("http:", "https:", "databricks")):
        return [dagster]
    store = ("--backend-store-uri", uri, "--artifacts-destination", artifacts, "--workers", "1")
    return [dagster, Server("MLflow", mlflow_port, tool("mlflow", "ui", mlflow_port, *store))]


def serve(servers: list[Server]) -> None:
    """Run the servers, and say where they are as soon as all of them answer.

    Raises:
        SystemExit: A port is in use, or a server ended by itself; the message says which.
    """
    for server in servers:
        if server.answers():
            option = f"{server.name.upper()}_PORT"
            sys.exit(
                f"error: port {server.port} is in use, perhaps by another 'make dev'. "
                f"Choose another one: make dev {option}={server.port + 10}"
            )
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for server in servers:
            processes.append(server.start())
        _watch(servers, processes)
    finally:
        _stop(processes)


def _watch(servers: list[Server], processes: list[subprocess.Popen[bytes]]) -> None:
    waiting = True
    while True:
        for server, process in zip(servers, processes, strict=True):
            if process.poll() is not None:
                sys.exit(f"error: {server.name} ended (exit code {process.returncode}).")
        if waiting and all(server.answers() for server in servers):
            waiting = False
            lines = [f"  {server.name:<8} {server.address}" for server in servers]
            print("\n" + "\n".join(lines) + "\n  Ctrl-C stops them.\n", flush=True)
        time.sleep(0.5)


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """Do what Ctrl-C in a terminal of its own would do to each, and insist after a while."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
    for process in processes:
        try:
            process.wait(_STOP_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(process.pid, signal.SIGKILL)


def main() -> None:
    """Read the ports from the command line and serve until Ctrl-C or a termination."""
    parser = argparse.ArgumentParser(prog="python -m ff_assets.dev", description=__doc__)
    parser.add_argument("--dagster-port", type=int, default=3000)
    parser.add_argument("--mlflow-port", type=int, default=5001)
    options = parser.parse_args()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    settings = Settings.load().prepare()
    print(
        f"Starting. (Dagster is going to say that dagster.yaml here is not used. It is: "
        f"{settings.dagster_home} has a link to it.)",
        flush=True,
    )
    try:
        serve(servers(settings, options.dagster_port, options.mlflow_port))
    except KeyboardInterrupt:
        print("Stopped.")


if __name__ == "__main__":
    main()
