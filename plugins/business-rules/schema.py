"""The JSON Schema of `[plugin.config]`: the shape of the rules. What it cannot say, `rules.py` checks."""

SCALARS = {"type": "array", "items": {"type": ["string", "number", "boolean"]}, "minItems": 1}
TEXT = {"type": "string", "minLength": 1}
LENGTH = {"type": "integer", "minimum": 0}

RULE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "deployment": TEXT,
        "function": TEXT,
        "argument": {"oneOf": [{"type": "integer", "minimum": 0}, TEXT]},
        "header": {"type": "string", "pattern": "^[A-Za-z0-9-]+$"},
        "required": {"type": "boolean"},
        "min": {"type": "number"},
        "max": {"type": "number"},
        "min_length": LENGTH,
        "max_length": LENGTH,
        "in": SCALARS,
        "not_in": SCALARS,
        "pattern": {"type": "string"},
        "hours": {"type": "string"},
        "days": {
            "type": "array",
            "items": {"enum": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]},
            "minItems": 1,
        },
        "utc_offset": {"type": "string"},
        "except_callers": {"type": "array", "items": TEXT},
        "message": TEXT,
        "status": {"type": "integer", "minimum": 400, "maximum": 499},
        "code": {"type": "string", "pattern": "^[a-z0-9_]{1,64}$"},
    },
}

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["rules"],
    "properties": {"rules": {"type": "array", "items": RULE, "minItems": 1}},
}
