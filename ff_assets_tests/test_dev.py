"""Servers side by side: both stop together, and what went wrong is said."""

import re
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ff_assets.dev import Server, serve, servers
from ff_assets.settings import Settings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def small_server(name: str) -> Server:
    """A server that starts at once and says nothing."""
    port = free_port()
    listen = f"TCPServer(('127.0.0.1', {port}), BaseRequestHandler).serve_forever()"
    program = f"from socketserver import BaseRequestHandler, TCPServer; {listen}"
    return Server(name, port, (sys.executable, "-c", program))


def test_both_are_named_when_they_answer_and_stopped_on_interrupt() -> None:
    both = [small_server("Dagster"), small_server("MLflow")]
    process = subprocess.Popen(
        [sys.executable, "-c", f"from ff_assets.dev import Server, serve; serve({both!r})"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C stops them" not in said:
            line = process.stdout.readline()
            assert line, f"it ended and said: {said}"
            said += line
        assert re.findall(r"http://\S+", said) == [server.address for server in both]
        assert all(server.answers() for server in both)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)

    assert not any(server.answers() for server in both)


def test_when_one_ends_the_other_is_stopped() -> None:
    dagster = small_server("Dagster")
    mlflow = Server("MLflow", free_port(), (sys.executable, "-c", "raise SystemExit(3)"))

    with pytest.raises(SystemExit, match=r"MLflow ended \(exit code 3\)"):
        serve([dagster, mlflow])

    assert not dagster.answers()


def test_a_port_in_use_is_said_with_the_way_out() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(SystemExit, match=f"port {port} is in use.*make dev MLFLOW_PORT="):
            serve([small_server("Dagster"), replace(small_server("MLflow"), port=port)])


def test_a_tracking_server_elsewhere_needs_no_mlflow_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FF_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert [server.name for server in servers(Settings.load(), 1, 2)] == ["Dagster", "MLflow"]

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.com")
    assert [server.name for server in servers(Settings.load(), 1, 2)] == ["Dagster"]
