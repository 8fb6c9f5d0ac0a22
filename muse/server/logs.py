"""Structured logs: one JSON object a line. No token, no query, no body of a request is ever in them."""

import logging
from typing import Any, TextIO, cast

import orjson
import structlog
from structlog.typing import FilteringBoundLogger


def make_logger(stream: TextIO, level: str) -> FilteringBoundLogger:
    """Return a logger that writes to `stream`; what uvicorn has to say, from warnings on, goes there too."""
    minimum = logging.getLevelNamesMapping()[level.upper()]
    logger = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=_serialized),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(minimum),
    )
    handler = _Handler(cast("FilteringBoundLogger", logger))
    for name in ("uvicorn.error", "asyncio"):
        uvicorn_logger = logging.getLogger(name)
        uvicorn_logger.handlers = [handler]
        uvicorn_logger.setLevel(logging.WARNING)
        uvicorn_logger.propagate = False
    return cast("FilteringBoundLogger", logger)


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
