"""OpenAPI description of the routes, made from the forms that check the requests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from chargen import __version__
from chargen.server.schema import Schema, fields, text

ERROR: Schema = fields(
    {
        "error": {
            "type": "object",
            "properties": {
                "message": text("What is wrong, the value, and what is allowed."),
                "type": text("Kind of the error."),
                "param": {"description": "Field of the request, or null."},
                "code": {"description": "For programs, or null."},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
    ("error",),
)


@dataclass(frozen=True)
class Described:
    """What the description says of a route.

    Attributes:
        path: with a parameter in braces, if it has one.
        method: GET or POST.
        summary: one phrase.
        kind: type of the answer.
        form: of the request.
    """

    path: str
    method: str
    summary: str
    kind: str = "application/json"
    form: Schema | None = None


def description(routes: Iterable[Described], *, has_key: bool) -> dict[str, Any]:
    """Return the description of the server."""
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    bearer = {"bearer": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "chargen",
            "version": __version__,
            "description": "Text, log probabilities and scores from recurrent models.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": ERROR},
            **({"securitySchemes": bearer} if has_key else {}),
        },
        **({"security": [{"bearer": []}]} if has_key else {}),
    }


def _operation(route: Described) -> dict[str, Any]:
    body = {"required": True, "content": {"application/json": {"schema": route.form}}}
    _, brace, name = route.path.partition("{")
    parameter = {
        "name": name.rstrip("}"),
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
    }
    error = {"schema": {"$ref": "#/components/schemas/Error"}}
    return {
        "summary": route.summary,
        **({"parameters": [parameter]} if brace else {}),
        **({"requestBody": body} if route.form else {}),
        "responses": {
            "200": {"description": "Done.", "content": {route.kind: {}, **_events(route)}},
            "default": {"description": "Refused.", "content": {"application/json": error}},
        },
    }


def _events(route: Described) -> dict[str, Any]:
    """Return the second type of the answer of a route that can stream."""
    streams = route.form is not None and "stream" in route.form["properties"]
    return {"text/event-stream": {}} if streams else {}
