"""Wrong bodies, made systematically from a pydantic model's JSON schema.

For every field at any depth: a value of each JSON type that the schema does not allow there, in a body
that is valid otherwise; and the body without each required field.
"""

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]
SAMPLES: dict[str, Any] = {
    "null": None,
    "boolean": True,
    "integer": 1,
    "number": 1.5,
    "string": "1",
    "array": [],
    "object": {},
}


def wrong_bodies(model: type[BaseModel]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pairs of what is wrong and the body."""
    schema = model.model_json_schema()
    yield from _Walk(schema.get("$defs", {})).object(schema, "", lambda value: value)


class _Walk:
    def __init__(self, definitions: dict[str, Schema]) -> None:
        self._definitions = definitions

    def object(
        self, schema: Schema, path: str, wrap: Callable[[Any], Any]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        valid = self.sample(schema)
        for name in schema.get("required", ()):
            yield f"{path}.{name} is missing", wrap({key: valid[key] for key in valid if key != name})
        for name, field in schema.get("properties", {}).items():

            def place(value: Any, name: str = name) -> Any:
                return wrap(valid | {name: value})

            yield from self.field(field, f"{path}.{name}", place)

    def field(
        self, schema: Schema, path: str, wrap: Callable[[Any], Any]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        branches = list(self.branches(schema))
        allowed = {kind for branch in branches for kind in _kinds(branch)}
        for kind, value in SAMPLES.items():
            fits_as_number = kind == "integer" and "number" in allowed
            if kind not in allowed and not fits_as_number:
                yield f"{path} is {kind}", wrap(value)
        for branch in branches:
            if branch.get("type") == "object" and "properties" in branch:
                yield from self.object(branch, path, wrap)
        items = [branch["items"] for branch in branches if branch.get("items")]
        if items:
            yield from self.field({"anyOf": items}, f"{path}[]", lambda value: wrap([value]))

    def branches(self, schema: Schema) -> Iterator[Schema]:
        if "$ref" in schema:
            yield from self.branches(self._definitions[schema["$ref"].rpartition("/")[2]])
        elif "anyOf" in schema:
            for branch in schema["anyOf"]:
                yield from self.branches(branch)
        else:
            yield schema

    def sample(self, schema: Schema) -> Any:
        """The smallest valid value."""
        branch = next(self.branches(schema))
        if "enum" in branch or "const" in branch:
            return branch.get("const", branch.get("enum", [None])[0])
        kind = branch.get("type", "null")
        if kind == "object":
            required = branch.get("required", ())
            return {name: self.sample(branch["properties"][name]) for name in required}
        if kind == "array":
            return [self.sample(branch["items"])] if branch.get("minItems") else []
        return "a" if kind == "string" else SAMPLES[kind]


def _kinds(schema: Schema) -> set[str]:
    if "enum" in schema or "const" in schema:
        return {"string"}
    return {schema["type"]} if "type" in schema else set(SAMPLES)
