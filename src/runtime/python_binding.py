"""How the arguments of a call become those of a Python function: by name or by order, checked and converted by the
declared types. python.py imports it for deployments with typed functions, and at the first call by name.

A type becomes a `Type` once, when the function is loaded. Checking a value of a plain type is one comparison. Types
that are not known here take any value. Types of other modules are known by module and name, so that none is imported
for deployments that do not use them.

Texts of a query or a form are converted to the declared types (`"7"` for an int); JSON text never is.

A number of JSON that has a fraction or an exponent is a float. For types that keep all digits, `read_float` notes the
text of those that a float is not written as, and `Texts` goes with the arguments of the call.
"""

import sys
from _json import encode_basestring as quote
from types import FunctionType

FOUND_LENGTH = 80  # characters of a value in a message
MESSAGE_LENGTH = 500  # characters of a message, and of the place that it names
MODEL_FAULTS = 3  # faults of one model in a message
TYPES = 2_000  # types of one function: more, as of one that expands without end, take any value
SCHEMA_LENGTH = 8_192  # characters of the JSON Schemas of a function
DEFAULT_LENGTH = 200  # characters of a default in it
DESCRIPTION_LENGTH = 8_192  # characters of the description of a function
LEFT_OUT = {"$comment": "left out: the schemas of the function are too long"}  # the gateway knows it
VARARGS, VARKEYWORDS, STREAM = 0x04, 0x08, 0x20 | 0x200  # code flags; STREAM: any kind of generator
EMPTY = object()  # a parameter without a default
ANY_KEY = object()  # the fields of a type that takes objects with any keys


class BadArgument(Exception):
    """Arguments that do not fit a function. It was not run."""

    def __init__(self, message, argument=None, path=None, expected=None):
        super().__init__(shortened(message, MESSAGE_LENGTH))
        details = {"argument": argument, "path": path, "expected": expected}
        self.details = {
            key: shortened(value, MESSAGE_LENGTH) if isinstance(value, str) else value for key, value in details.items()
        }

    def metagate_error(self):
        """The protocol's error."""
        details = {key: value for key, value in self.details.items() if value is not None}
        return {"name": "BadArgument", "message": str(self), "kind": "argument", **details}


class Mismatch(Exception):
    """A value that does not fit a type; `path` leads to it from the argument. `others` are the paths and messages of
    further faults."""

    def __init__(self, expected, value, path="", message=None, others=()):
        super().__init__(expected)
        self.expected, self.value, self.path, self.message, self.others = expected, value, path, message, others

    def within(self, step):
        """The mismatch as one of the value around it."""
        self.path = step + self.path
        self.others = [(path if path is None else step + path, message) for path, message in self.others]
        return self


class Type:
    """What is known of a type: `check(value, text)` returns the value to pass or raises `Mismatch`; `text` is True for
    values of a query or a form, else false, and may be the `Texts` of numbers. `exact(value)` says whether it is of the
    type without conversion. `fields` are the keys of a type that takes an object, or ANY_KEY; None for other types.
    `is_str` marks types that take every text, or each that keeps some rules. `marks` are the types of those fields that
    take a few values only, such as `kind: Literal["circle"]`: they tell the members of a union apart."""

    __slots__ = ("check", "schema", "expected", "exact", "fields", "is_str", "marks")

    def __init__(self, check, schema, expected, exact=None, fields=None, is_str=False, marks=None):
        self.check, self.schema, self.expected = check, schema, expected
        self.exact, self.fields, self.is_str, self.marks = exact, fields, is_str, marks

    def with_schema(self, schema):
        return Type(self.check, schema, self.expected, self.exact, self.fields, self.is_str, self.marks)


def found(value):
    """A value as messages show it."""
    try:
        import json

        text = json.dumps(value, ensure_ascii=False)
    except Exception:
        text = repr(value)
    return shortened(text, FOUND_LENGTH)


def shortened(text, length):
    return text if len(text) <= length else text[: length - 1] + "…"


# ---- Plain types -----------------------------------------------------------------------------------------------------


def check_int(value, text):
    if type(value) is int:
        return value
    if type(value) is float:  # 5.0 is an integer in JSON
        number = whole_number(text_of(value, text))
        if number is not None:
            return number
    if text and is_number_text(value):
        try:
            return int(value.strip())
        except ValueError:
            pass
    raise Mismatch("int", value)


def whole_number(text):
    """The value of a decimal number, or None if it has a fraction or too many digits."""
    mantissa, _, exponent = text.lower().partition("e")
    units, _, fraction = mantissa.partition(".")
    digits = units + fraction
    if len(digits) > NUMBER_LENGTH or len(exponent) > 5 or not digits.lstrip("-").isdigit():
        return None
    shift = int(exponent or 0) - len(fraction)  # the number is `digits` times ten to the power of this
    if not digits.strip("-0"):
        return 0
    if shift < 0:
        return None if digits[shift:].strip("-0") else int(digits[:shift])
    return int(digits + "0" * shift) if len(digits) + shift <= NUMBER_LENGTH else None


def check_float(value, text):
    if type(value) is float:
        return value
    if type(value) is int or text and is_number_text(value):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = float("nan")
        if number - number == 0:
            return number
    raise Mismatch("float", value)


def is_number_text(value):
    """Whether text may be a number: Python's own reading takes `1_000` and digits of every script."""
    return type(value) is str and len(value) <= NUMBER_LENGTH and value.isascii() and "_" not in value


TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def check_bool(value, text):
    if type(value) is bool:
        return value
    if text and type(value) is str:
        word = value.strip().lower()
        if word in TRUE or word in FALSE:
            return word in TRUE
    raise Mismatch("bool", value)


def check_str(value, text):
    if type(value) is str:
        return value
    raise Mismatch("str", value)


def check_none(value, text):
    if value is None:
        return None
    raise Mismatch("null", value)


def decode_bytes(value, text):
    if type(value) is str:
        from binascii import Error, a2b_base64

        try:
            return a2b_base64(value.encode("ascii"), strict_mode=True) if sys.version_info >= (3, 11) else strict(value)
        except (Error, ValueError):
            pass
    elif type(value) is bytes:  # the body of a request
        return value
    elif is_file(type(value)):
        return value.read()
    raise Mismatch("base64 text", value)


def is_file(kind):
    return (kind.__module__, kind.__qualname__) == ("metagate", "File")


def check_file(value, text):
    if is_file(type(value)):
        return value
    raise Mismatch("file", value)


def strict(value):
    """Base64 without characters of other alphabets, as `strict_mode` has it from Python 3.11 on."""
    from binascii import Error, a2b_base64, b2a_base64

    data = a2b_base64(value)
    if b2a_base64(data, newline=False).decode() != value:
        raise Error("not base64")
    return data


PLAIN = {
    int: Type(check_int, {"type": "integer"}, "int", lambda value: type(value) is int),
    float: Type(check_float, {"type": "number"}, "float", lambda value: type(value) is float),
    bool: Type(check_bool, {"type": "boolean"}, "bool", lambda value: type(value) is bool),
    str: Type(check_str, {"type": "string"}, "str", lambda value: type(value) is str, None, True),
    type(None): Type(check_none, {"type": "null"}, "null", lambda value: value is None),
    bytes: Type(decode_bytes, {"type": "string", "contentEncoding": "base64"}, "base64 text"),
    bytearray: Type(
        lambda value, text: bytearray(decode_bytes(value, text)),
        {"type": "string", "contentEncoding": "base64"},
        "base64 text",
    ),
}


def from_text(make, expected, schema):
    """A type that is made of text."""

    def check(value, text):
        if type(value) is str:
            try:
                return make(value)
            except Exception:
                pass
        raise Mismatch(expected, value)

    return Type(check, schema, expected)


def iso(kind):
    """Python before 3.11 does not read a `Z` for UTC."""
    return lambda value: kind.fromisoformat(value[:-1] + "+00:00" if value[-1:] in "Zz" else value)


NUMBER_TEXT = r"^[ \t\n\r]*[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?[ \t\n\r]*$"
INTEGER_TEXT = r"^[ \t\n\r]*[-+]?[0-9]+[ \t\n\r]*$"
BOOLEAN_TEXT = (
    r"^[ \t\n\r]*(?:[Tt][Rr][Uu][Ee]|1|[Yy][Ee][Ss]|[Oo][Nn]|[Ff][Aa][Ll][Ss][Ee]|0|[Nn][Oo]|[Oo][Ff][Ff])[ \t\n\r]*$"
)
NUMBER_LENGTH = 4_300  # digits of a number, as in Python itself: reading more takes long
EXACT_DIGITS = 15  # every decimal number of so many digits survives the way into a float and back
needs_texts = False  # a type has been seen that keeps all digits
long_numbers = {}  # of the lines that are read: identity of a float → the float and its text


def read_float(text):
    """A number of JSON; `long_numbers` gets the text of one that is written otherwise than a float: it has more digits,
    a zero at its end, or an exponent."""
    number = float(text)
    if len(text) > EXACT_DIGITS or repr(number) != text:
        long_numbers[id(number)] = (number, text)
    return number


class Texts:
    """The texts of the long numbers among the arguments of calls. It is false, because the arguments are JSON."""

    def __init__(self, numbers):
        self.numbers = numbers  # it keeps the floats, so that no other value has the identity of one

    def __bool__(self):
        return False


def take_texts():
    """The texts of the numbers that `read_float` has read since the last time."""
    global long_numbers
    texts, long_numbers = Texts(long_numbers), {}
    return texts


def text_of(number, texts):
    """The number as the caller wrote it, or with the same value."""
    known = texts.numbers.get(id(number)) if type(texts) is Texts else None
    return known[1] if known else repr(number)


def decimal_type(kind):
    global needs_texts
    needs_texts = True

    def check(value, text):
        if type(value) in (int, float) or is_number_text(value):
            try:
                number = kind(text_of(value, text) if type(value) is float else value)
            except Exception:
                number = kind("nan")
            if number.is_finite():
                return number
        raise Mismatch("decimal number", value)

    return Type(check, {"type": ["string", "number"], "pattern": NUMBER_TEXT}, "decimal number")


def duration_type(kind):
    """A length of time is a number of seconds, as in results."""

    def check(value, text):
        if type(value) in (int, float) or text and is_number_text(value):
            try:
                return kind(seconds=float(value) if type(value) is str else value)
            except (ValueError, OverflowError):
                pass
        raise Mismatch("duration in seconds", value)

    least, most = (limit.days * 86_400 for limit in (kind.min, kind.max))
    return Type(check, {"type": "number", "minimum": least, "maximum": most + 86_399}, "duration in seconds")


def library_type(kind):
    """The type of a class of the standard library, by module and name, or None."""
    name = (kind.__module__, kind.__qualname__)
    text = {"type": "string"}
    if is_file(kind):
        return Type(check_file, {**text, "contentMediaType": "application/octet-stream"}, "file")
    if name == ("datetime", "datetime"):
        return from_text(iso(kind), "date and time (ISO 8601)", {**text, "format": "date-time"})
    if name == ("datetime", "date"):
        return from_text(kind.fromisoformat, "date (YYYY-MM-DD)", {**text, "format": "date"})
    if name == ("datetime", "time"):
        return from_text(iso(kind), "time (HH:MM:SS)", {**text, "format": "time"})
    if name == ("datetime", "timedelta"):
        return duration_type(kind)
    if name == ("uuid", "UUID"):
        return from_text(kind, "UUID", {**text, "format": "uuid"})
    if name in (("decimal", "Decimal"), ("_decimal", "Decimal")):
        return decimal_type(kind)
    if kind.__module__.partition(".")[0] == "pathlib":
        return from_text(kind, "path", text)
    if kind.__module__ == "ipaddress":
        name = kind.__name__
        version = "ipv6" if "6" in name else "ipv4"
        if "Address" in name:
            return from_text(kind, name, {**text, "format": version})
        network = "2001:db8::/64" if version == "ipv6" else "192.0.2.0/24"
        pattern = r"^[0-9A-Fa-f:.]+(?:/[0-9]+)?$" if version == "ipv6" else r"^[0-9]+(?:\.[0-9]+){3}(?:/[0-9.]+)?$"
        return from_text(kind, name, {**text, "pattern": pattern, "examples": [network]})
    return None


# ---- Types with parts ------------------------------------------------------------------------------------------------


class Compiler:
    """Makes the types of one scope: the names that annotations refer to. Those of results are only described: their
    schemas say what python.py makes of values."""

    def __init__(self, scope, is_result=False):
        self.scope, self.is_result = scope, is_result
        self.open = {}  # classes that are being made, for those that contain themselves
        self.made = [0]  # types so far, shared with the compilers of other scopes
        self.definitions = {}  # classes that contain themselves, by the names of their schemas; shared likewise

    def type_of(self, annotation):
        """The type of an annotation, or None for one that takes any value."""
        self.made[0] += 1
        if self.made[0] > TYPES:
            return None
        for _ in range(50):
            if isinstance(annotation, str):
                annotation = self.evaluate(annotation)
            elif type(annotation).__name__ == "ForwardRef":
                annotation = self.evaluate(annotation.__forward_arg__)
            elif hasattr(annotation, "__supertype__"):  # NewType
                annotation = annotation.__supertype__
            elif type(annotation).__name__ == "TypeAliasType":
                annotation = annotation.__value__
            else:
                break
        if annotation is None:
            annotation = type(None)
        if type(annotation) is type and annotation in PLAIN:
            return self.plain_type(annotation)
        if hasattr(annotation, "__metadata__"):
            return self.annotated(annotation)
        origin = getattr(annotation, "__origin__", None)
        if origin is not None or type(annotation).__name__ in ("UnionType", "Union"):
            return self.generic(annotation, origin)
        if isinstance(annotation, type):
            return self.class_type(annotation)
        return None

    def plain_type(self, kind):
        if self.is_result and kind in (bytes, bytearray):
            return PLAIN[kind].with_schema(BYTES_OF_RESULT)
        return plain_type(kind)

    def evaluate(self, text):
        try:
            return eval(text, self.scope)  # text of the module itself
        except Exception:
            return object  # a name for type checkers only

    def annotated(self, annotation):
        inner = self.type_of(annotation.__origin__)
        rules, details = [], {}
        for item in annotation.__metadata__:
            if isinstance(getattr(item, "description", None), str):
                details["description"] = item.description
            for one in (item, *(getattr(item, "metadata", None) or ())):
                rules += constraints(one, details)
        if inner is None and not rules:
            return None
        inner = inner or ANY
        details = with_lengths(details, inner.schema)
        if not rules:
            return inner.with_schema({**inner.schema, **details})

        def check(value, text):
            checked = inner.check(value, text)
            for holds, expected in rules if checked is not None else ():  # no rule is for null
                try:
                    fits = holds(checked)
                except Exception:
                    fits = False
                if not fits:
                    raise Mismatch(expected, value)
            return checked

        return Type(check, {**inner.schema, **details}, inner.expected, None, inner.fields, inner.is_str)

    def generic(self, annotation, origin):
        arguments = getattr(annotation, "__args__", None) or ()
        name = getattr(origin, "__name__", None) or getattr(origin, "_name", None) or type(annotation).__name__
        if name in ("Union", "UnionType", "Optional"):
            return self.union(arguments)
        if name == "Literal":
            return literal(arguments)
        if name in ("ClassVar", "Final", "Required", "NotRequired", "ReadOnly") and arguments:
            return self.type_of(arguments[0])
        if not isinstance(origin, type):
            return None
        if origin is tuple:
            return self.tuple_of(arguments)
        if origin in ITEMS or name in ABSTRACT_ITEMS:
            return self.items(ITEMS.get(origin) or ABSTRACT_ITEMS[name], arguments)
        if name == "defaultdict":
            return None
        if origin is dict or name in ("Mapping", "MutableMapping", "OrderedDict"):
            return self.mapping(origin if name == "OrderedDict" else dict, arguments)
        return self.class_type(origin)  # a model or a dataclass with parameters

    def union(self, arguments):
        members = [self.type_of(argument) for argument in arguments]
        if any(member is None for member in members):
            return None
        expected = " or ".join(dict.fromkeys(member.expected for member in members))
        is_str = any(member.is_str for member in members)

        def check(value, text):
            if text and is_str and type(value) is str:
                text = False  # it stays text, as in JSON
            for member in members:
                if member.exact and member.exact(value):
                    return value
            inner = []
            for member in members:
                try:
                    return member.check(value, text)
                except Mismatch as mismatch:
                    inner += [mismatch] if mismatch.path else []
            # Of several members it is known which one was meant if a field of few values says so.
            known = marked(members, value)
            if known:
                raise known
            raise inner[0] if len(inner) == 1 else Mismatch(expected, value)

        objects = [member.fields for member in members if member is not PLAIN[type(None)]]
        fields = None if None in objects else joined(objects)
        return Type(check, {"anyOf": [member.schema for member in members]}, expected, None, fields, is_str)

    def tuple_of(self, arguments):
        if not arguments:
            return self.items(tuple, ())
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return self.items(tuple, arguments[:1])
        members = [self.type_of(argument) or ANY for argument in arguments]
        expected = f"array of {len(members)}"

        def check(value, text):
            if type(value) is not list or len(value) != len(members):
                raise Mismatch(expected, value)
            return tuple(part(member, item, f"[{at}]", text) for at, (member, item) in enumerate(zip(members, value)))

        size = {"minItems": len(members), "maxItems": len(members)}
        return Type(check, {"type": "array", "prefixItems": [member.schema for member in members], **size}, expected)

    def items(self, make, arguments):
        item = self.type_of(arguments[0]) if arguments else None

        def check(value, text):
            if type(value) is not list:  # a text is a sequence of texts in Python, and a mistake in JSON
                if not text:
                    raise Mismatch("array", value)
                value = [value]  # a key that comes once
            if item is not None:
                value = [part(item, one, f"[{at}]", text) for at, one in enumerate(value)]
            try:
                return value if make is list else make(value)
            except TypeError:  # an item that cannot be hashed
                raise Mismatch("array of plain values", value) from None

        return Type(check, {"type": "array", **({"items": item.schema} if item else {})}, "array")

    def mapping(self, make, arguments):
        key, value_type = (self.type_of(argument) for argument in (*arguments, object, object)[:2])

        def check(value, text):
            if type(value) is not dict:
                raise Mismatch("object", value)
            if key is None and value_type is None:
                return value
            made = make()
            for name, one in value.items():
                # Keys of JSON are text: they are converted as the text of a query is.
                step = f"[{quote(name)}]"
                converted = part(key, name, step, True) if key and key is not PLAIN[str] else name
                if converted in made:
                    raise Mismatch("a key that is not there already", name, step)
                made[converted] = part(value_type, one, step, text) if value_type else one
            return made

        schema = {"type": "object", **({"additionalProperties": value_type.schema} if value_type else {})}
        names = as_key(key.schema) if key and key is not PLAIN[str] else {}
        return Type(check, {**schema, **({"propertyNames": names} if names else {})}, "object", None, ANY_KEY)

    # ---- Classes ----

    def class_type(self, kind):
        if kind in self.open:
            place = self.open[kind]
            if place.check is None:  # within itself
                self.definitions[place.schema["$ref"].rpartition("/")[2]] = place
            return place
        if kind in PLAIN:
            return self.plain_type(kind)
        if kind in ITEMS or kind is tuple:
            return self.items(ITEMS.get(kind, tuple), ())
        if kind is dict:
            return self.mapping(dict, ())
        if kind is object:
            return None
        if kind.__module__ == "collections.abc" and kind.__name__ in ABSTRACT_ITEMS:
            return self.items(ABSTRACT_ITEMS[kind.__name__], ())
        if kind.__module__ == "collections.abc" and kind.__name__ in ("Mapping", "MutableMapping"):
            return self.mapping(dict, ())
        bases = [(base.__module__, base.__qualname__) for base in kind.__mro__]
        if ("enum", "Enum") in bases:
            return enum_type(kind)
        if callable(getattr(kind, "model_validate_json", None)):
            def describe():
                return worker.own_module("python_models").described(kind, self.is_result, BYTES_OF_RESULT)

            # As JSON: what is text in JSON for want of another form, such as a date, is so in strict models too.
            return model_type(kind, kind.model_validate_json, describe, True)
        if callable(getattr(kind, "parse_obj", None)) and hasattr(kind, "__fields__"):
            return model_type(kind, kind.parse_obj, getattr(kind, "schema", None), False)
        # Of a class that contains itself, the inner one refers to this place.
        name = kind.__name__ if kind.__name__ not in self.definitions else f"{kind.__name__}{len(self.open)}"
        place = self.open[kind] = Type(None, {"$ref": f"#/$defs/{name}"}, kind.__name__, None, ANY_KEY)
        made = self.record_type(kind)
        if made is None:
            del self.open[kind]
            # What a file is as a result depends on where it is.
            return None if self.is_result and is_file(kind) else library_type(kind)
        place.check, place.schema, place.expected, place.fields = made.check, made.schema, made.expected, made.fields
        place.marks = made.marks
        return place

    def record_type(self, kind):
        if hasattr(kind, "__dataclass_fields__"):
            return self.dataclass_type(kind)
        if hasattr(kind, "__required_keys__"):
            return self.typed_dict(kind)
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            return self.named_tuple(kind)
        return None

    def field_types(self, kind, annotations):
        """The types of a class's fields, each read in the module of the class that declares it."""
        return {name: self.of_owner(kind, name).type_of(annotation) for name, annotation in annotations.items()}

    def of_owner(self, kind, name):
        """The compiler for the module of the class that declares a field."""
        owner = next((base for base in kind.__mro__ if name in base.__dict__.get("__annotations__", {})), kind)
        inner = Compiler(getattr(sys.modules.get(owner.__module__), "__dict__", self.scope), self.is_result)
        inner.open, inner.made, inner.definitions = self.open, self.made, self.definitions
        return inner

    def dataclass_type(self, kind):
        from dataclasses import MISSING, fields

        known = kind.__dataclass_fields__.values()
        takes_others = not kind.__dataclass_params__.init or any("INITVAR" in str(one._field_type) for one in known)
        if takes_others and not self.is_result:
            return None  # its constructor takes other arguments than its fields
        fields = [field for field in fields(kind) if field.init or self.is_result]
        types = self.field_types(kind, {field.name: field.type for field in fields})
        required = [f.name for f in fields if not f.init or f.default is MISSING and f.default_factory is MISSING]
        return self.record(kind, types, required, lambda values: construct(kind, values))

    def record(self, kind, types, required, make):
        """A type with fields, which its class describes. A result of a class may be one of its subclasses."""
        made = record(kind.__name__, types, required, make)
        about = own_docstring(kind)
        properties = described_properties(made.schema["properties"], about)
        schema = {**made.schema, "properties": properties, **({"description": about} if about else {})}
        if self.is_result and type.__subclasses__(kind):
            del schema["additionalProperties"]
        return made.with_schema(schema)

    def typed_dict(self, kind):
        types = self.field_types(kind, kind.__annotations__)
        required = []
        for name, annotation in kind.__annotations__.items():
            # Python itself does not look into annotations that are text.
            mark = self.of_owner(kind, name).mark_of(annotation)
            if mark == "Required" or mark != "NotRequired" and name in kind.__required_keys__:
                required.append(name)
        return self.record(kind, types, required, dict)

    def mark_of(self, annotation):
        """`Required` or `NotRequired` around an annotation, if it is there."""
        for _ in range(10):
            if isinstance(annotation, str):
                annotation = self.evaluate(annotation)
            elif type(annotation).__name__ == "ForwardRef":
                annotation = self.evaluate(annotation.__forward_arg__)
            elif hasattr(annotation, "__metadata__") or getattr(annotation, "_name", None) == "ReadOnly":
                annotation = annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation.__args__[0]
            else:
                break
        return getattr(getattr(annotation, "__origin__", None), "_name", None)

    def named_tuple(self, kind):
        annotations = getattr(kind, "__annotations__", {})
        types = self.field_types(kind, {name: annotations.get(name, object) for name in kind._fields})
        required = [name for name in kind._fields if name not in kind._field_defaults]
        if self.is_result:  # an array, as of every tuple
            items = [{**(one.schema if one else {}), "title": name} for name, one in types.items()]
            size = {"minItems": len(items), "maxItems": len(items)}
            schema = {"type": "array", "title": kind.__name__, "prefixItems": items, **size}
            return ANY.with_schema(schema)
        by_name = self.record(kind, types, required, lambda values: construct(kind, values))

        def check(value, text):
            if type(value) is list:
                if not len(required) <= len(value) <= len(types):
                    raise Mismatch(f"array of {len(types)}", value)
                value = dict(zip(types, value))
            return by_name.check(value, text)

        return Type(check, by_name.schema, by_name.expected, None, by_name.fields, marks=by_name.marks)


# The worker sends bytes as text if they are UTF-8, else in base64.
BYTES_OF_RESULT = {"type": "string", "description": "Text if the bytes are UTF-8, else base64."}
ANY = Type(lambda value, text: value, {}, "any value", lambda value: True)
ITEMS = {list: list, set: set, frozenset: frozenset}
ABSTRACT_ITEMS = {
    **dict.fromkeys(("Sequence", "MutableSequence", "Iterable", "Collection", "Container"), list),
    **dict.fromkeys(("Set", "AbstractSet", "MutableSet"), set),
}


def plain_type(kind):
    global needs_texts
    needs_texts = needs_texts or kind is int
    return PLAIN[kind]


def as_key(schema):
    """The schema of the texts that stand for values as keys of an object."""
    kind = schema.get("type")
    if "anyOf" in schema:
        return {"anyOf": [as_key(one) for one in schema["anyOf"]]}
    if "enum" in schema:
        words = (TRUE if value else FALSE for value in schema["enum"] if type(value) is bool)
        return {"enum": list(dict.fromkeys([*map(str, schema["enum"]), *(word for one in words for word in one)]))}
    if kind == "string" or not schema:
        return schema
    if kind == "null":
        return {"not": {}}
    pattern = {"integer": INTEGER_TEXT, "number": NUMBER_TEXT, "boolean": BOOLEAN_TEXT}.get(str(kind), "")
    rules = {keyword: value for keyword, value in schema.items() if keyword not in ("type", "items", "prefixItems")}
    return {"type": "string", "pattern": pattern, **rules}


def with_lengths(details, schema):
    """The keywords of constraints on values of a schema: the lengths of lists and objects have others than those of
    texts, and bytes are counted in base64."""
    kinds = {"string": ["Length"], "array": ["Items"], "object": ["Properties"]}
    keywords = kinds.get(str(schema.get("type")), ["Length", "Items", "Properties"])
    found = {}
    for keyword, value in details.items():
        if not keyword.endswith("Length"):
            found[keyword] = value
        elif schema.get("contentEncoding") == "base64":
            found[keyword] = -(-value // 3) * 4
            found["format" + keyword[0].upper() + keyword[1:]] = value
        else:
            found.update({keyword.replace("Length", one): value for one in keywords})
    return found


def joined(fields):
    """The fields of a type that is one of several."""
    if not fields or any(one is ANY_KEY for one in fields):
        return ANY_KEY if fields else None
    return frozenset().union(*fields)


def part(member, value, step, text):
    """Checks a part of a value."""
    try:
        return member.check(value, text)
    except Mismatch as mismatch:
        raise mismatch.within(step)


def construct(kind, values):
    """An instance. With these errors its constructor refuses the values; others are its own."""
    try:
        return kind(**values)
    except (ValueError, TypeError) as error:
        raise Mismatch(kind.__name__, values, message=f"{kind.__name__}: {error}") from error


def record(name, types, required, make):
    """A type with fields."""

    def check(value, text):
        if type(value) is not dict:
            raise Mismatch(f"object ({name})", value)
        for key in value:
            if key not in types:
                raise Mismatch(name, value, f".{key}", f"{name} has no field {quote(key)}{nearest(key, types)}")
        for key in required:
            if key not in value:
                raise Mismatch(name, value, f".{key}", f"field {quote(key)} of {name} is missing")
        return make(
            {key: part(types[key], one, f".{key}", text) if types[key] else one for key, one in value.items()}
        )

    properties = {key: one.schema if one else {} for key, one in types.items()}
    schema = {"type": "object", "title": name, "properties": properties, "required": list(required)}
    marks = {key: one for key, one in types.items() if one and "enum" in one.schema}
    expected = f"object ({name})"
    return Type(check, {**schema, "additionalProperties": False}, expected, None, frozenset(types), marks=marks)


def marked(members, value):
    """What is wrong with the member of a union that a field of few values, such as `kind`, shows to be meant; or with
    that field. None if no such field tells."""
    if type(value) is not dict:
        return None
    meant, wrong = [], []
    for member in members:
        for key, mark in (member.marks or {}).items():
            if key in value:
                try:
                    mark.check(value[key], False)
                    meant.append(member)
                except Mismatch as mismatch:
                    wrong.append((key, mismatch))
    if len(meant) == 1:
        try:
            meant[0].check(value, False)
        except Mismatch as mismatch:
            return mismatch
    if meant or not wrong or len({key for key, _ in wrong}) > 1:
        return None
    expected = " or ".join(dict.fromkeys(mismatch.expected for _, mismatch in wrong))
    return Mismatch(expected, wrong[0][1].value, f".{wrong[0][0]}")


def with_definitions(schema, known):
    """A schema whose `$defs` are at its root, where references look for them: those of its parts, and known ones."""
    definitions = {}

    def without(part):
        if isinstance(part, dict):
            inner = part.get("$defs")
            if isinstance(inner, dict):
                definitions.update({name: without(one) for name, one in inner.items()})
            reference = part.get("$ref")
            name = reference.rpartition("/")[2] if isinstance(reference, str) else None
            if name in known and name not in definitions:
                definitions[name] = {}  # it refers to itself
                definitions[name] = without(known[name])
            return {key: without(one) for key, one in part.items() if key != "$defs"}
        return [without(one) for one in part] if isinstance(part, list) else part

    whole = without(schema)
    return {**whole, "$defs": definitions} if definitions else whole


# ---- Docstrings ------------------------------------------------------------------------------------------------------

# The headings of lists of parameters and of fields.
HEADINGS = ("args", "arguments", "parameters", "params", "keyword args", "keyword arguments", "other parameters")
FIELD_HEADINGS = ("attributes", "fields")


def own_docstring(kind):
    """What a class says of itself; of dataclasses and named tuples not the signature that Python makes up."""
    text = kind.__dict__.get("__doc__")
    if not isinstance(text, str) or text.startswith(f"{kind.__name__}("):
        return None
    return "\n".join(clean_lines(text)).strip() or None


def clean_lines(text):
    """The lines of a docstring without the indentation of its code."""
    lines = text.expandtabs().splitlines()
    margin = min((len(one) - len(one.lstrip()) for one in lines[1:] if one.strip()), default=0)
    return [line.strip() if not at else line[margin:].rstrip() for at, line in enumerate(lines)]


def described_properties(properties, text):
    """The schemas of fields with what a docstring says of them."""
    found = described_names(text, FIELD_HEADINGS + HEADINGS)
    return {
        name: {"description": found[name], **schema} if name in found and "$ref" not in schema else schema
        for name, schema in properties.items()
    }


def described_names(text, headings=HEADINGS):
    """What a docstring says of parameters, by their names: `:param name: …`, `name: …` below `Args:`, `name : type`
    with further lines below `Parameters` and a line of dashes."""
    if not isinstance(text, str):
        return {}
    lines, found, at = clean_lines(text), {}, 0
    while at < len(lines):
        line, following = lines[at], lines[at + 1] if at + 1 < len(lines) else ""
        heading = line.strip().rstrip(":").lower()
        at += 1
        if line.startswith((":param", "@param", ":arg", ":var", ":ivar", ":key")):
            words, _, rest = line[1:].partition(":") if line[0] == ":" else line.partition(":")
            name = words.split()[-1].lstrip("*")
            at = add_text(found, name, rest, lines, at, 0)
        elif heading in headings and following.strip() and set(following.strip()) == {"-"}:
            at = numpy_section(found, lines, at + 1)
        elif heading in headings and line.endswith(":"):
            at = google_section(found, lines, at, indentation(line))
    return {name: text for name, text in found.items() if text}


def indentation(line):
    return len(line) - len(line.lstrip())


def google_section(found, lines, at, margin):
    while at < len(lines):
        line = lines[at]
        if line.strip() and indentation(line) <= margin:
            break
        at += 1
        words, mark, rest = line.partition(":")
        name = words.strip().partition(" ")[0].partition("(")[0].lstrip("*")
        if mark and name.isidentifier():
            at = add_text(found, name, rest, lines, at, indentation(line))
    return at


def numpy_section(found, lines, at):
    while at < len(lines) and lines[at].strip():
        names = lines[at].partition(":")[0]
        if at + 1 < len(lines) and set(lines[at + 1].strip()) == {"-"}:  # the next heading
            break
        margin, first = indentation(lines[at]), at + 1
        for name in names.split(","):
            at = add_text(found, name.strip().lstrip("*"), "", lines, first, margin)
    return at


def add_text(found, name, text, lines, at, margin):
    """Adds the text of a name and the lines that are indented below it; returns the place of the next line."""
    words = [text.strip()]
    while at < len(lines) and lines[at].strip() and indentation(lines[at]) > margin:
        words.append(lines[at].strip())
        at += 1
    found.setdefault(name, " ".join(filter(None, words)))
    return at


def enum_type(kind):
    values = [member.value for member in kind]
    expected = "one of " + ", ".join(map(found, values))

    def check(value, text):
        for member in kind:
            if type(member.value) is type(value) and member.value == value:
                return member
        for member in kind if text and type(value) is str else ():
            if is_written(member.value, value):
                return member
        if type(value) is not bool:
            try:  # flags, values of several parts, classes that look up values themselves
                return kind(tuple(value) if type(value) is list else value)
            except Exception:
                pass
        raise Mismatch(expected, value)

    return Type(check, values_schema(kind, values), expected)


def values_schema(kind, values):
    """Flags have more values than their members, and some values have a JSON form of their own only as parts."""
    if hasattr(kind, "_flag_mask_") or any(base.__name__ == "Flag" for base in kind.__mro__):
        return {"type": "integer"}
    return {"enum": values} if all(map(is_plain, values)) else {}


def is_plain(value):
    """Whether a value has a JSON form of its own."""
    if type(value) is float:
        return value - value == 0
    return type(value) in (str, int, bool, type(None))


def is_written(value, text):
    """Whether a text of a query stands for one of several values."""
    return str(value) == text or type(value) is bool and text.strip().lower() in (TRUE if value else FALSE)


def literal(values):
    # A member of an enum stands for its value.
    plain_values = [one.value if hasattr(type(one), "_member_map_") else one for one in values]
    expected = "one of " + ", ".join(map(found, plain_values))

    def check(value, text):
        for one, plain in zip(values, plain_values):
            if type(plain) is type(value) and plain == value:
                return one
        for one, plain in zip(values, plain_values) if text and type(value) is str else ():
            if is_written(plain, value):
                return one
        raise Mismatch(expected, value)

    return Type(check, {"enum": [value for value in plain_values if is_plain(value)]}, expected)


def model_type(kind, validate, describe, is_of_json):
    """A model of pydantic, which validates itself: JSON or a value."""
    global needs_texts
    model = worker.own_module("python_models").Model(kind) if is_of_json else None
    needs_texts = needs_texts or is_of_json and model.keeps_digits

    def json_of(value, text):
        if type(text) is Texts and text.numbers and model.keeps_digits:
            return model.json_of(value, text.numbers, whole_number)
        import json

        return json.dumps(value)

    def check(value, text):
        try:
            return validate(json_of(value, text) if is_of_json else value)
        except Exception as error:
            listed = getattr(error, "errors", None)
            if not callable(listed):
                raise
            faults = [(path_of(one["loc"]), one["msg"]) for one in listed()]
            if len(faults) > MODEL_FAULTS:
                faults[MODEL_FAULTS:] = [(None, f"{len(faults) - MODEL_FAULTS} more")]
            raise Mismatch(kind.__name__, value, *faults[0], faults[1:]) from None

    try:
        schema = describe()
    except Exception:
        schema = {"type": "object", "title": kind.__name__}
    is_object = schema.get("type", "object") == "object"
    return Type(check, schema, f"object ({kind.__name__})", None, fields_of(schema) if is_object else None)


def path_of(steps):
    return "".join(f"[{step}]" if type(step) is int else f".{step}" for step in steps)


def fields_of(schema):
    """The fields of a model, by its own schema; that of one that contains itself is a reference."""
    name = schema.get("$ref", "").rpartition("/")[2]
    properties = schema.get("$defs", schema.get("definitions", {})).get(name, schema).get("properties")
    return frozenset(properties) if properties else ANY_KEY


def constraints(item, details):
    """The rules of one item of `Annotated`: those of annotated_types, and pydantic's patterns."""
    rules = []

    def add(attribute, keyword, holds, words):
        bound = getattr(item, attribute, None)
        if bound is not None and not callable(bound):
            number = number_of(bound)
            if number is not None:
                details[keyword] = number
            else:  # a bound that is no number of JSON Schema, in the form that validators of formats have for it
                details["format" + keyword[0].upper() + keyword[1:]] = str(bound)
            rules.append((lambda value: holds(value, bound), f"{words} {bound}"))

    add("ge", "minimum", lambda value, bound: value >= bound, "a value of at least")
    add("gt", "exclusiveMinimum", lambda value, bound: value > bound, "a value greater than")
    add("le", "maximum", lambda value, bound: value <= bound, "a value of at most")
    add("lt", "exclusiveMaximum", lambda value, bound: value < bound, "a value less than")
    add("multiple_of", "multipleOf", is_multiple, "a multiple of")
    add("min_length", "minLength", lambda value, bound: len(value) >= bound, "a length of at least")
    add("max_length", "maxLength", lambda value, bound: len(value) <= bound, "a length of at most")
    pattern = getattr(item, "pattern", None)
    if isinstance(pattern, str):
        import re

        details["pattern"] = pattern
        try:
            rules.append((re.compile(pattern).search, f"text that matches {pattern}"))
        except re.error:  # of another dialect
            pass
    return rules


def number_of(bound):
    """A bound as a number of JSON, or None if it is none."""
    try:
        bound = bound.total_seconds() if hasattr(bound, "total_seconds") else bound
        if type(bound) not in (int, float):
            number = float(bound) if type(bound).__name__ == "Decimal" else None
            bound = int(number) if number is not None and number == int(number) and int(number) == bound else number
        return bound if bound - bound == 0 else None
    except Exception:
        return None


def is_multiple(value, bound):
    ratio = value / bound
    return abs(ratio - round(ratio)) < 1e-9


# ---- Functions -------------------------------------------------------------------------------------------------------

POSITIONAL, KEYWORD, REST, KEYWORDS = "positional", "keyword-only", "rest", "rest-by-name"


class Parameter:
    """A parameter of a function. `type` is None if it takes any value."""

    __slots__ = ("name", "kind", "default", "type", "by_position")

    def __init__(self, name, kind, default=EMPTY, by_position=False):
        self.name, self.kind, self.default, self.type, self.by_position = name, kind, default, None, by_position

    def required(self):
        return self.default is EMPTY and self.kind in (POSITIONAL, KEYWORD)

    def default_note(self):
        """The default as a schema has it, if it is a plain value that callers may send as well."""
        default = getattr(self.default, "value", None) if hasattr(type(self.default), "_member_map_") else self.default
        if not is_plain(default) or type(default) is str and len(default) > DEFAULT_LENGTH:
            return {}
        try:
            if self.type:
                self.type.check(default, False)
        except Exception:
            return {}
        return {"default": default}


def parameters_of(function):
    """The parameters, in inspect.signature's order. It reads the code object, because importing inspect costs 7 ms.
    Raises ValueError or TypeError for callables without a signature."""
    if type(function) is not FunctionType or hasattr(function, "__signature__"):
        return inspected(function)
    code, defaults = function.__code__, function.__defaults__ or ()
    positional, named = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    names = code.co_varnames
    first = positional - len(defaults)
    found = [
        Parameter(name, POSITIONAL, EMPTY if at < first else defaults[at - first], at < code.co_posonlyargcount)
        for at, name in enumerate(names[:positional])
    ]
    rest = bool(code.co_flags & VARARGS)
    if rest:
        found.append(Parameter(names[named], REST))
    kwdefaults = function.__kwdefaults__ or {}
    found += [Parameter(name, KEYWORD, kwdefaults.get(name, EMPTY)) for name in names[positional:named]]
    if code.co_flags & VARKEYWORDS:
        found.append(Parameter(names[named + rest], KEYWORDS))
    return found


def inspected(function):
    import inspect

    kinds = {
        inspect.Parameter.POSITIONAL_ONLY: POSITIONAL,
        inspect.Parameter.POSITIONAL_OR_KEYWORD: POSITIONAL,
        inspect.Parameter.VAR_POSITIONAL: REST,
        inspect.Parameter.KEYWORD_ONLY: KEYWORD,
        inspect.Parameter.VAR_KEYWORD: KEYWORDS,
    }
    return [
        Parameter(
            one.name,
            kinds[one.kind],
            EMPTY if one.default is inspect.Parameter.empty else one.default,
            one.kind is inspect.Parameter.POSITIONAL_ONLY,
        )
        for one in inspect.signature(function).parameters.values()
    ]


def unwrapped(function):
    """The function with the signature, behind decorators."""
    for _ in range(100):
        if not hasattr(function, "__wrapped__") or hasattr(function, "__signature__"):
            break
        function = function.__wrapped__
    return function


def flags_of(function):
    return getattr(getattr(function, "__code__", None), "co_flags", 0)


def names_parameters(function):
    """Whether a function names all of its parameters, unlike a decorator's `*args, **kwargs`."""
    return type(function) is FunctionType and not flags_of(function) & (VARARGS | VARKEYWORDS)


def safely(compiler, annotation):
    """The type of an annotation; None, for any value, if it cannot be made."""
    try:
        return compiler.type_of(annotation)
    except Exception:
        return None


def optional(inner):
    """A type that also takes null."""
    if PLAIN[type(None)].schema in (inner.schema, *inner.schema.get("anyOf", ())):
        return inner

    def check(value, text):
        return None if value is None else inner.check(value, text)

    schema = {"anyOf": [inner.schema, {"type": "null"}]}
    return Type(check, schema, inner.expected, None, inner.fields, inner.is_str)


def annotated_part(function):
    """The object with the annotations: of a partial its function, of a callable object its `__call__`."""
    for _ in range(100):
        function = unwrapped(function)
        if hasattr(function, "func") and hasattr(function, "keywords"):
            function = function.func
        elif not hasattr(function, "__code__") and not hasattr(function, "__func__") and not isinstance(function, type):
            call = getattr(type(function), "__call__", None)
            if not hasattr(call, "__code__"):
                return function
            function = call
        else:
            return getattr(function, "__func__", function)
    return function


def length_of(schema):
    """The characters of a schema as JSON; more than any limit if a default or a bound has no form in it."""
    import json

    try:
        return len(json.dumps(schema, allow_nan=False, ensure_ascii=False))
    except Exception:
        return float("inf")


# What such functions return is sent as a stream, whoever has made it.
ITERATORS = ("Iterator", "Generator", "AsyncIterator", "AsyncIterable", "AsyncGenerator")


def items_of(function, compiler, annotation):
    """The schema of what a generator yields, or an iterator gives; None for other functions."""
    if isinstance(annotation, str):
        annotation = compiler.evaluate(annotation)
    kind = getattr(annotation, "__origin__", annotation)
    is_iterator = getattr(kind, "__module__", None) == "collections.abc" and kind.__name__ in ITERATORS
    if not flags_of(function) & STREAM and not is_iterator:
        return None
    arguments = getattr(annotation, "__args__", None) or ()
    item = safely(compiler, arguments[0]) if arguments else None
    return item.schema if item else {}


class Binder:
    """Binds the arguments of calls of one function."""

    def __init__(self, name, function):
        self.name = name
        inner = function
        if not names_parameters(function):
            inner = unwrapped(function)
        # A decorator may pass other arguments to the function than it gets, and may convert them itself: only it can
        # tell how many it needs, and of which types. Those of functools pass them on.
        self.is_decorated = inner is not function and type(function).__module__ != "functools"
        self.takes_keywords = not self.is_decorated or bool(flags_of(function) & VARKEYWORDS)
        self.parameters = parameters_of(inner)
        inner = annotated_part(inner)
        annotations = getattr(inner, "__annotations__", None) or {}
        compiler = Compiler(getattr(inner, "__globals__", {}))
        self.types, self.definitions = {}, compiler.definitions
        for one in self.parameters:
            if one.name in annotations and not self.is_decorated:
                one.type = safely(compiler, annotations[one.name])
                if one.type and one.default is None:
                    one.type = optional(one.type)
        results = Compiler(compiler.scope, is_result=True)
        returns = safely(results, annotations["return"]) if "return" in annotations else None
        self.returns, self.definitions_of_results = returns.schema if returns else {}, results.definitions
        self.items = items_of(inner, results, annotations.get("return"))
        self.description = getattr(inner, "__doc__", None)
        self.positional = [one for one in self.parameters if one.kind is POSITIONAL]
        self.order = [one.name for one in self.positional]
        self.rest = next((one for one in self.parameters if one.kind is REST), None)
        self.keywords = next((one for one in self.parameters if one.kind is KEYWORDS), None)
        self.by_name = {one.name: one for one in self.parameters if one is not self.keywords}
        only = self.parameters[0] if len(self.parameters) == 1 else None
        # The fields of the only parameter, if it takes an object.
        self.only_fields = only.type.fields if only and only.kind is POSITIONAL and only.type else None
        self.is_typed = any(one.type for one in self.parameters)

    def schema(self):
        """What `inspect` shows of the function. Schemas without a JSON form are left out, and the longest ones if all
        are too long together, with defaults and descriptions or without. Arguments are checked all the same."""
        for has_notes in (True, False):
            whole = self.whole_schema(has_notes)
            places = [(one, "schema") for one in whole["parameters"]]
            places += [(whole, key) for key in ("returns", "items") if key in whole]
            lengths = [length_of(place[key]) for place, key in places]
            if sum(lengths) <= SCHEMA_LENGTH:
                return whole
        while sum(lengths) > SCHEMA_LENGTH:
            longest = lengths.index(max(lengths))
            lengths[longest] = 0
            place, key = places[longest]
            place[key] = LEFT_OUT
        return whole

    def whole_schema(self, has_notes):
        """`has_notes`: with defaults, and with what the docstring says of parameters."""

        def whole(schema, definitions):
            return with_definitions(schema, {name: place.schema for name, place in definitions.items()})

        texts = described_names(self.description) if has_notes else {}
        listed = []
        for one in self.parameters:
            schema = whole(one.type.schema if one.type else {}, self.definitions)
            if one.name in texts:
                schema = {"description": texts[one.name], **schema}
            if has_notes:
                schema = {**schema, **one.default_note()}
            listed.append({"name": one.name, "kind": one.kind, "required": one.required(), "schema": schema})
        description = {}
        if isinstance(self.description, str):
            description = {"description": shortened(self.description, DESCRIPTION_LENGTH)}
        returns = whole(self.returns, self.definitions_of_results)
        if self.items is not None:
            items = whole(self.items, self.definitions_of_results)
            return {"parameters": listed, "returns": {}, "items": items, **description}
        return {"parameters": listed, "returns": returns, **description}

    def fewest(self):
        """The fewest arguments of a call by order; infinity if some are by name only."""
        if any(one.kind is KEYWORD and one.required() for one in self.parameters):
            return float("inf")
        return sum(1 for one in self.positional if one.required())

    def most(self):
        return float("inf") if self.rest else len(self.positional)

    def signature(self):
        parts, star = [], False
        for one in self.parameters:
            if one.kind is KEYWORD and not star and not self.rest:
                parts.append("*")
                star = True
            mark = {REST: "*", KEYWORDS: "**"}.get(one.kind, "")
            default = "" if one.default is EMPTY or mark else "=…"
            parts.append(f"{mark}{one.name}{default}")
        return f"{self.name}({', '.join(parts)})"

    def bind(self, args, names, text):
        """The positional arguments and the keyword arguments of a call. `names` has a name for each of `args`, or is
        None for a call by order. Raises BadArgument."""
        if names is None:
            return self.in_order(args, text)
        if names and not self.is_typed and names == self.order[: len(names)]:  # as most callers give them
            return self.in_order(args, text)
        if self.only_fields is not None and not self.names_only(args, names):
            return self.in_order([dict(zip(names, args))], text)
        known = sum(1 for name in names if name in self.by_name)
        if known == len(names) or self.keywords:
            return self.named(dict(zip(names, args)), text)
        if not known:
            return self.in_order(args, text)
        unknown = next(name for name in names if name not in self.by_name)
        raise BadArgument(
            f"no parameter {quote(unknown)}{nearest(unknown, self.by_name)}: {self.signature()}", unknown
        )

    def names_only(self, args, names):
        """Whether an object names the only parameter, which takes an object too, rather than being it. A field of that
        name is the object's own; so is any key of a type with free keys, unless its value is an object or null."""
        if names != self.order:
            return False
        if self.only_fields is ANY_KEY:
            return type(args[0]) is dict or args[0] is None
        return names[0] not in self.only_fields

    def in_order(self, args, text):
        if self.is_decorated and not self.fewest() <= len(args) <= self.most():
            return args, {}
        if len(args) > self.most():
            raise BadArgument(f"{len(args)} arguments are too many for {self.signature()}", len(self.positional) + 1)
        for at, one in enumerate(self.parameters):
            if one.required() and (one.kind is KEYWORD or at >= len(args)):
                hint = ", which is given by name only" if one.kind is KEYWORD else ""
                raise BadArgument(f"argument {quote(one.name)} is missing{hint}: {self.signature()}", one.name)
        bound = [
            self.convert(one, value, at, text) if one.type else value
            for at, (one, value) in enumerate(zip(self.positional, args))
        ]
        rest = args[len(self.positional) :]
        if rest and self.rest.type:
            rest = [self.convert(self.rest, value, len(bound) + at, text) for at, value in enumerate(rest)]
        return [*bound, *rest], {}

    def named(self, values, text):
        for one in self.parameters:
            if one.required() and one.name not in values and not self.is_decorated:
                raise BadArgument(f"argument {quote(one.name)} is missing: {self.signature()}", one.name)
        if not self.takes_keywords:
            return self.all_in_order(values), {}
        rest = None
        if self.rest and self.rest.name in values:
            rest = values.pop(self.rest.name)
            if type(rest) is not list and text:
                rest = [rest]  # a key that comes once
            if type(rest) is not list:
                name = self.rest.name
                raise BadArgument(f"argument {quote(name)}: expected array, found {found(rest)}", name, "", "array")
            if self.rest.type:
                rest = [self.convert(self.rest, one, None, text, f"[{at}]") for at, one in enumerate(rest)]
        keywords = {}
        for name, value in values.items():
            one = self.by_name.get(name, self.keywords)
            keywords[name] = self.convert(one, value, None, text, name=name) if one.type else value
        positional = []
        for one in self.positional:
            if not rest and not one.by_position:
                break
            if one.name not in keywords and one.default is EMPTY:  # the decorator passes it
                break
            positional.append(keywords.pop(one.name) if one.name in keywords else one.default)
        return [*positional, *(rest or ())], keywords

    def all_in_order(self, values):
        """The named values for a decorator that takes arguments in order only. None may take the place of another."""
        last = max((at for at, one in enumerate(self.positional) if one.name in values), default=-1)
        arguments = []
        for one in self.positional[: last + 1]:
            if one.name not in values and one.default is EMPTY:
                raise BadArgument(f"argument {quote(one.name)} is missing: {self.signature()}", one.name)
            arguments.append(values.get(one.name, one.default))
        beyond = [name for name in values if not any(one.name == name for one in self.positional)]
        if beyond:
            raise BadArgument(f"argument {quote(beyond[0])} cannot be given by name: {self.signature()}", beyond[0])
        return arguments

    def convert(self, parameter, value, at, text, step="", name=None):
        try:
            return parameter.type.check(value, text)
        except Mismatch as mismatch:
            path, others = mismatch.within(step).path, mismatch.others
            name = name or parameter.name
            place = f"argument {quote(name)}" if at is None else f"argument {at + 1} ({name})"
            what = mismatch.message or f"expected {mismatch.expected}, found {found(mismatch.value)}"
            inside = f", at {path}" if path else ""
            what += "".join(f"; at {where}: {one}" if where else f"; {one}" for where, one in others)
            raise BadArgument(f"{place}{inside}: {what}", name, path, mismatch.expected) from None
        except RecursionError:
            raise BadArgument(f"argument {quote(parameter.name)} is nested too deeply", parameter.name) from None


def nearest(name, names):
    from difflib import get_close_matches

    # Of single letters nearly every one is like another.
    close = get_close_matches(name, [one for one in names if min(len(one), len(name)) > 1], 1)
    return f" (did you mean {quote(close[0])}?)" if close else ""
