"""Values for models of pydantic 2, which reads numbers of JSON with a fraction as floats: a Decimal gets those with
more digits than a float keeps as texts, and an int gets whole ones without their fraction. python_binding.py loads it
for deployments whose functions have such models.

What a field is, pydantic's own core schema says. Where something else may look at the number first, such as a validator
of the model, it stays as it is.
"""

import json
from _json import encode_basestring as quote

PLACES = 100  # schemas that one value may have
# Schemas that take what their inner one takes, by the key of that one.
AROUND = {
    **dict.fromkeys(("nullable", "default", "function-after", "model", "dataclass", "definitions"), "schema"),
    **dict.fromkeys(("model-field", "typed-dict-field", "dataclass-field"), "schema"),
    "json-or-python": "json_schema",
}
LISTS = ("list", "set", "frozenset", "generator")


class Model:
    """What is known of one model."""

    def __init__(self, kind):
        schema = getattr(kind, "__pydantic_core_schema__", None)
        self.schema = schema if type(schema) is dict else {}  # an unfinished model has another
        self.definitions = {one.get("ref"): one for one in self.schema.get("definitions", ())}
        text = repr(self.schema)
        self.keeps_digits = "'type': 'decimal'" in text or "'type': 'int'" in text

    def json_of(self, value, numbers, whole_number):
        """A value as JSON. `numbers` has the texts of long numbers: identity of a float → the float and its text."""

        def written(value, places):
            kind = type(value)
            if kind is dict:
                parts = (f"{quote(key)}:{written(one, self.below(places, key))}" for key, one in value.items())
                return "{" + ",".join(parts) + "}"
            if kind is list:
                return "[" + ",".join(written(one, self.below(places, at)) for at, one in enumerate(value)) + "]"
            if kind is not float or id(value) not in numbers:
                return json.dumps(value)
            return number(numbers[id(value)][1], {one["type"] for one in places} - {"none"})

        def number(text, types):
            if types == {"decimal"}:
                return quote(text)
            if types != {"int"}:
                return text
            whole = whole_number(text)
            return quote(text) if whole is None else str(whole)  # such a text is no int

        return written(value, self.members([self.schema]))

    def below(self, places, step):
        """The schemas of a part of a value."""
        found = []
        for place in places:
            kind, items = place["type"], place.get("items_schema")
            if type(step) is int:
                if kind == "tuple":
                    at = place.get("variadic_item_index")
                    last = len(items) if at is None else at
                    found += [items[step]] if step < last else items[last : last + 1]
                elif kind in LISTS:
                    found.append(items)
            elif kind == "dict":
                found.append(place.get("values_schema"))
            else:
                found += fields_of(place, step)
        return self.members(found)

    def members(self, schemas):
        """The schemas of which a value fits one: those inside of unions and others that only surround one."""
        found, schemas = [], list(schemas)
        while schemas and len(found) < PLACES:
            one = schemas.pop()
            if type(one) is not dict or "type" not in one:
                continue
            kind = one["type"]
            if kind in AROUND:
                schemas.append(one.get(AROUND[kind]))
            elif kind == "definition-ref":
                schemas.append(self.definitions.get(one.get("schema_ref")))
            elif kind in ("union", "tagged-union"):
                choices = one.get("choices", ())
                choices = choices.values() if type(choices) is dict else choices
                schemas += (choice[0] if type(choice) is tuple else choice for choice in choices)
            else:
                found.append(one)
        return found


def described(kind, is_result, bytes_of_result):
    """The schema of what a model takes, or of what python.py makes of one that is a result."""
    mode = "serialization" if is_result else "validation"
    try:
        return kind.model_json_schema(mode=mode, schema_generator=generator(is_result, bytes_of_result))
    except (TypeError, ImportError):  # of something that looks like a model
        return kind.model_json_schema()


def generator(is_result, bytes_of_result):
    from pydantic.json_schema import GenerateJsonSchema

    class Generator(GenerateJsonSchema):
        def set_schema(self, schema):
            return self.list_schema(schema)  # it takes what is there several times

        def frozenset_schema(self, schema):
            return self.list_schema(schema)

        def default_schema(self, schema):
            found = super().default_schema(schema)
            if is_result and found.get("type") == "number" and isinstance(found.get("default"), str):
                del found["default"]  # of a timedelta
            return found

        def bytes_schema(self, schema):
            return bytes_of_result if is_result else super().bytes_schema(schema)

        def timedelta_schema(self, schema):
            return {"type": "number"} if is_result else super().timedelta_schema(schema)

        def decimal_schema(self, schema):
            return {"type": "string"} if is_result else super().decimal_schema(schema)

    return Generator


def fields_of(schema, key):
    """The fields with a key, by name or by another name for it."""
    fields = schema.get("fields", ())
    named = fields.items() if type(fields) is dict else ((one.get("name"), one) for one in fields)
    return [field for name, field in named if key == name or key in names_of(field.get("validation_alias"))]


def names_of(alias):
    """The keys that an alias stands for: a name, or several ways to a value."""
    if type(alias) is not list:
        return (alias,)
    ways = alias if all(type(way) is list for way in alias) else [alias]
    return [way[0] for way in ways if len(way) == 1]
