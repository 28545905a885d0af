"""Progress of a run, from the lines that its op logs."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import dagster as dg
from rich.console import Console
from rich.markup import escape
from rich.status import Status

# The name of Dagster's own console logger, whose place it takes; so the run can be repeated in
# the UI with the same configuration.
PROGRESS_LOGGER = "console"


class _Progress(logging.Handler):
    """Prints what has ended, and keeps what is going on in a status line."""

    def __init__(self, console: Console, status: Status) -> None:
        super().__init__(logging.INFO)
        self._console = console
        self._status = status
        self._began = time.monotonic()
        self._running: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "dagster_event", None) is not None:
            return  # Dagster's own events
        message = str(record.dagster_meta["orig_message"])  # type: ignore[attr-defined]
        sign, _, rest = message.partition(" ")
        if sign == "▶":
            self._running[rest] = None
            self._status.update("now: " + escape(", ".join(self._running)))
            if self._console.is_terminal:
                return
        elif sign in ("■", "✗"):
            self._running.pop(rest.partition(":")[0], None)
            self._status.update("now: " + escape(", ".join(self._running)))
        style = "red" if record.levelno >= logging.ERROR else ""
        elapsed = time.monotonic() - self._began
        self._console.print(
            f"{elapsed:6.1f} s  {message}", style=style, markup=False, soft_wrap=True
        )


@contextmanager
def progress_logger(console: Console, quiet: bool) -> Iterator[dg.LoggerDefinition]:
    """A Dagster logger that shows the progress of a run on a console, or nothing if quiet."""
    handler: logging.Handler = logging.NullHandler()
    with ExitStack() as stack:
        if not quiet:
            handler = _Progress(console, stack.enter_context(console.status("planning")))

        @dg.logger
        def progress(_: dg.InitLoggerContext) -> logging.Logger:
            logger = logging.Logger("ff", logging.INFO)
            logger.addHandler(handler)
            return logger

        yield progress
