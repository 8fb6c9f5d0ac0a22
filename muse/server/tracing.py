"""OpenTelemetry traces. The library is imported only if an endpoint is configured."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from muse.errors import UsageError

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


class Tracing:
    """Spans of requests and appends. Without an endpoint it does nothing."""

    def __init__(self, otlp_endpoint: str, version: str) -> None:
        self._provider: Any = None
        self._tracer: Tracer | None = None
        if otlp_endpoint:
            self._start(otlp_endpoint, version)

    def _start(self, otlp_endpoint: str, version: str) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
                OTLPSpanExporter,
            )
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        except ImportError as error:
            raise UsageError(
                "otlp_endpoint is set, but OpenTelemetry is not installed: pip install 'muse-oplog[otel]'"
            ) from error
        resource = Resource.create({"service.name": "muse", "service.version": version})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_endpoint)))
        self._tracer = self._provider.get_tracer("muse.server")

    @property
    def is_on(self) -> bool:
        """Whether traces are sent anywhere."""
        return self._tracer is not None

    @contextmanager
    def span(self, name: str, **attributes: str | int) -> Iterator[None]:
        """Measure the block."""
        if self._tracer is None:
            yield
            return
        with self._tracer.start_as_current_span(name, attributes=attributes):
            yield

    def follow(self, name: str, done: "asyncio.Future[Any]", **attributes: str | int) -> None:
        """Measure from now until `done` is done."""
        if self._tracer is None:
            return
        span = self._tracer.start_span(name, attributes=attributes)

        def end(done: "asyncio.Future[Any]") -> None:
            if (error := done.exception()) is not None:
                span.record_exception(error)
            span.end()

        done.add_done_callback(end)

    def close(self) -> None:
        """Send what is left."""
        if self._provider is not None:
            self._provider.shutdown()
