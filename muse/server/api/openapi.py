"""The OpenAPI document, made from the endpoints: what is served is what is described."""

import re
from typing import Any

import msgspec

from muse.server.api.calls import Endpoint
from muse.server.api.routes import (
    BODIES,
    ENDPOINTS,
    ERROR,
    JSON,
    PARAMETERS,
    RECEIPT,
)

_PART = re.compile(r"\{(\w+)(?::path)?\}")
_ERRORS = {
    400: "The request is malformed, or its Host is not one of this server.",
    401: "There is no token, or not a valid one.",
    403: "The token may not do this, or the Origin is of another site.",
    404: "There is no such thing.",
    408: "The request took too long.",
    409: "It is in the way of something else.",
    410: "The cursor is of another log than the one that is here now.",
    413: "Too large.",
    415: "The media type is not understood.",
    422: "The request does not hold what it should; field and line say where.",
    429: "Too much at once; `retry_after` says when to come again, in seconds.",
    500: "Stored data is damaged, or a fault of the server.",
    503: "The server is stopping, or busy.",
    507: "The disk is full: nothing of this is acknowledged.",
}
_EVERYWHERE = (400, 422, 429, 500, 503)


def make_document(version: str) -> dict[str, Any]:
    """Return the document as OpenAPI 3.1 has it."""
    _, schemas = msgspec.json.schema_components(BODIES, ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {}
    for endpoint in ENDPOINTS:
        path = _PART.sub(r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Muse op log", "version": version},
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Receipt": RECEIPT, "Error": ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.handler.__module__.rpartition('.')[2]}.{endpoint.handler.__name__}",
        "summary": endpoint.summary,
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint),
        "security": [{"token": []}, {}] if endpoint.scope else [],
    }
    if endpoint.body:
        content = {media_type: {"schema": schema} for media_type, schema in endpoint.body.items()}
        operation["requestBody"] = {"content": content, "required": not endpoint.may_be_empty}
    return operation


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": PARAMETERS[name]}
        for name in _PART.findall(endpoint.path)
    ]
    in_query = [
        {
            "name": name,
            "in": "query",
            "required": bool(schema.get("required")),
            "schema": {key: value for key, value in schema.items() if key != "required"},
        }
        for name, schema in endpoint.query.items()
    ]
    in_headers = [
        {"name": name, "in": "header", "schema": schema} for name, schema in endpoint.headers.items()
    ]
    return in_path + in_query + in_headers


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    responses: dict[str, Any] = {
        str(status): {"description": "Done.", "content": {media_type: {"schema": schema}}}
        for status, (media_type, schema) in endpoint.answers.items()
    }
    guarded = (401, 403) if endpoint.scope else ()
    slow = (408, 413, 415) if endpoint.body else ()
    for status in sorted({*_EVERYWHERE, *guarded, *slow, *endpoint.errors}):
        content = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
        responses[str(status)] = {"description": _ERRORS[status], "content": content}
    return responses
