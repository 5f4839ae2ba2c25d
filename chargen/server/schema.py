"""JSON Schemas that both check a request and describe it in ``/openapi.json``.

Only the keywords that are checked here are used, so a description never promises more.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from typing import Any

from chargen.server.errors import RequestError

Schema = dict[str, Any]

SAFE = 1 << 53  # whole numbers up to here are exact in every client
NAMES = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def text(help: str = "", most: int | None = None, **more: Any) -> Schema:
    """Return the schema of a text of at most so many characters."""
    limit = {} if most is None else {"maxLength": most}
    return {"type": "string", **limit, **_described(help), **more}


def whole(help: str, least: int = -SAFE, most: int = SAFE, **more: Any) -> Schema:
    """Return the schema of a whole number."""
    return {"type": "integer", "minimum": least, "maximum": most, **_described(help), **more}


def number(help: str = "", least: float = -1e9, most: float = 1e9, **more: Any) -> Schema:
    """Return the schema of a number."""
    return {"type": "number", "minimum": least, "maximum": most, **_described(help), **more}


def switch(help: str) -> Schema:
    """Return the schema of a field that is off by default."""
    return {"type": "boolean", "default": False, **_described(help)}


def several(items: Schema, most: int, help: str = "", least: int = 0) -> Schema:
    """Return the schema of a list."""
    return {
        "type": "array",
        "items": items,
        "minItems": least,
        "maxItems": most,
        **_described(help),
    }


def either(*schemas: Schema, help: str = "") -> Schema:
    """Return the schema of a value that has one of several forms."""
    return {"anyOf": list(schemas), **_described(help)}


def fields(properties: dict[str, Schema], required: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object; null stands for a field that is not given."""
    own = {
        name: schema if name in required else either(schema, {"type": "null"})
        for name, schema in properties.items()
    }
    return {
        "type": "object",
        "properties": own,
        "required": list(required),
        "additionalProperties": False,
    }


def _described(help: str) -> Schema:
    return {"description": help} if help else {}


# -- checking -----------------------------------------------------------------------------


def parse(body: bytes, schema: Schema) -> dict[str, Any]:
    """Return the fields of a request that are given and not null.

    Raises:
        RequestError: the body is not JSON, or does not fit the schema.
    """
    data = _decoded(body)
    if not isinstance(data, dict):
        raise RequestError(400, "the body is not a JSON object; send one, as {...}")
    check(data, schema, "")
    return {name: value for name, value in data.items() if value is not None}


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except UnicodeDecodeError:
        raise RequestError(400, "the body is not UTF-8") from None
    except RecursionError:
        raise RequestError(400, "the body is not JSON that can be read: too deep") from None
    except ValueError as error:  # also of numbers with thousands of digits
        place = error.pos if isinstance(error, json.JSONDecodeError) else 0
        raise RequestError(400, f"the body is not JSON: error at character {place}") from None


def _no_number(name: str) -> Any:
    raise ValueError(name)


def check(value: Any, schema: Schema, name: str) -> None:
    """Check a value against a schema.

    Raises:
        RequestError: it does not fit; names the field, the value and what is allowed.
    """
    if "anyOf" in schema:
        _check_any(value, schema["anyOf"], name)
        return
    if "enum" in schema:
        allowed = ", ".join(json.dumps(choice) for choice in schema["enum"])
        _require(value in schema["enum"], name, value, allowed)
        return
    if "type" not in schema:  # anything
        return
    kind = schema["type"]
    _require(_is(value, kind), name, value, NAMES[kind])
    CHECKS[kind](value, schema, name)


def _check_any(value: Any, schemas: list[Schema], name: str) -> None:
    """Check a value against the first schema of its type; of none, name them all."""
    fitting = [s for s in schemas if "enum" in s or "type" not in s or _is(value, s["type"])]
    kinds = " or ".join(_kinds(schemas))
    _require(bool(fitting), name, value, kinds)
    errors = []
    for schema in fitting:
        try:
            return check(value, schema, name)
        except RequestError as error:
            errors.append(error)
    raise errors[0]


def _kinds(schemas: list[Schema]) -> list[str]:
    """Return the names of the types that a value may have."""
    inner = [own for s in schemas for own in s.get("anyOf", [s])]
    return [NAMES[s["type"]] for s in inner if s.get("type", "null") != "null"]


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer":
        return isinstance(value, int)
    return isinstance(value, KINDS[kind])


KINDS: dict[str, Any] = {
    "string": str,
    "number": int | float,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


def _check_text(value: str, schema: Schema, name: str) -> None:
    most = schema.get("maxLength", SAFE)
    if len(value) > most:
        raise _wrong(f"{name} has {len(value):,} characters; allowed: up to {most:,}", name)
    least = schema.get("minLength", 0)
    _require(len(value) >= least, name, value, f"{least} characters or more")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        found = f"U+{ord(value[error.start]):04X} at character {error.start}"
        raise _wrong(f"{name} has a lone surrogate, {found}; no text has one", name) from None


def _check_number(value: float, schema: Schema, name: str) -> None:
    least, most = schema["minimum"], schema["maximum"]
    _require(least <= value <= most, name, value, f"{least:,} to {most:,}")


def _check_list(value: list[Any], schema: Schema, name: str) -> None:
    least, most = schema["minItems"], schema["maxItems"]
    fits = least <= len(value) <= most
    if not fits:
        raise _wrong(f"{name} has {len(value):,} entries; allowed: {least:,} to {most:,}", name)
    for number, item in enumerate(value):
        check(item, schema["items"], f"{name}[{number}]")


def _check_object(value: dict[str, Any], schema: Schema, name: str) -> None:
    most = schema.get("maxProperties", SAFE)
    if len(value) > most:
        raise _wrong(f"{name} has {len(value):,} entries; allowed: up to {most:,}", name)
    before = f"{name}." if name else ""
    own, others = schema["properties"], schema["additionalProperties"]
    for key, item in value.items():
        if key in own:
            check(item, own[key], before + key)
        elif others:
            check(item, others, f"{name}[{_shown(key)}]")
        else:
            raise _unknown(before + key, [before + known for known in own])
    for key in schema["required"]:
        if key not in value:
            raise _wrong(f"{before}{key} is missing; it is required", before + key)


CHECKS: dict[str, Callable[[Any, Schema, str], None]] = {
    "string": _check_text,
    "integer": _check_number,
    "number": _check_number,
    "boolean": lambda *_: None,
    "array": _check_list,
    "object": _check_object,
    "null": lambda *_: None,
}


def _unknown(name: str, known: list[str]) -> RequestError:
    near = difflib.get_close_matches(name[:80], known, 1)
    meant = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
    return _wrong(f"{_shown(name)} is not a field{meant}", None, "unknown_field")


def _require(fits: bool, name: str, value: Any, allowed: str) -> None:
    if not fits:
        shown = "true" if value is True else "false" if value is False else _shown(value)
        raise _wrong(f"{name} is {shown}; allowed: {allowed}", name)


def _shown(value: Any) -> str:
    """Return a value for a message, cut if it is long, and without expanding a huge number."""
    if value is None:
        return "null"
    if isinstance(value, list | dict):
        return NAMES["array" if isinstance(value, list) else "object"]
    if isinstance(value, int) and abs(value) > 1 << 64:
        return "a huge number"
    words = repr(value[:60]) if isinstance(value, str) else repr(value)
    return words if not isinstance(value, str) or len(value) <= 60 else f"{words}..."


def _wrong(message: str, name: str | None, code: str | None = None) -> RequestError:
    return RequestError(400, message, param=name, code=code)
