"""Structured logs: one JSON object a line. They never show a token, a query or a body of a request.

A line that cannot be written (a full disk, a reader that is gone) is lost, and nothing else is.
"""

import contextlib
import logging
from typing import Any, TextIO, cast

import orjson
import structlog
from structlog.typing import FilteringBoundLogger


def make_logger(stream: TextIO, level: str) -> FilteringBoundLogger:
    """Return a logger that writes to `stream`."""
    minimum = logging.getLevelNamesMapping()[level.upper()]
    logger = structlog.wrap_logger(
        _LineLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=_serialized),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(minimum),
    )
    return cast("FilteringBoundLogger", logger)


def take_in_libraries(logger: FilteringBoundLogger) -> None:
    """Send the warnings and errors of the libraries to `logger`, in the whole process."""
    handler = _Handler(logger)
    for name in ("uvicorn.error", "asyncio", "opentelemetry"):
        library_logger = logging.getLogger(name)
        library_logger.handlers = [handler]
        library_logger.setLevel(logging.WARNING)
        library_logger.propagate = False


class _LineLogger(structlog.WriteLogger):
    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError):
            super().msg(message)

    log = debug = info = warning = warn = error = critical = msg


def _serialized(document: Any, **_: Any) -> str:
    return orjson.dumps(document, default=str).decode()


class _Handler(logging.Handler):
    """Hands the records of the standard library's logging on."""

    def __init__(self, logger: FilteringBoundLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        facts = {"traceback": self.format(record)} if record.exc_info else {}
        self._logger.log(record.levelno, record.getMessage().strip(), source=record.name, **facts)
