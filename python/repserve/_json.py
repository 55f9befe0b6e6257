"""Values of JSON with their types."""

from typing import Any, cast

Object = dict[str, Any]


def as_object(value: object) -> Object:
    """An object of JSON; an empty one where it is none."""
    return cast(Object, value) if isinstance(value, dict) else {}


def as_objects(value: object) -> list[Object]:
    """The objects of an array of JSON."""
    return [as_object(item) for item in cast(list[object], value)] if isinstance(value, list) else []
