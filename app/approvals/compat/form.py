"""The JSON Schemas of a post action <-> a form that people can fill in.

A form has a field for each plain member that the outcomes' schemas describe (text, number, flag,
one of some values), and for each member that an outcome's path reads (``$.comment``). The outcomes
of an action share one form: what is filled in becomes one JSON body, and the first outcome that it
fits is taken, as with a program's. Whether it fits is the schemas' word, never the form's; a schema
that needs more than plain members has no form.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from app.approvals.typed_text import clean_text
from app.strict_json import Json, dumps

MAX_FIELDS = 40
MAX_LABEL = 200
MAX_HINT = 1_000
MAX_CHOICES = 200
SHORT_TEXT = 100  #: characters; longer texts get several lines
_REFERENCE_HOPS = 10

_MEMBER = re.compile(r"(?:\$\.)?([A-Za-z_][A-Za-z0-9_]*)|\$\[(['\"])([^'\"\\]+)\2\]")
_LOCAL = re.compile(r"#/(definitions|\$defs)/([^/~%]+)")
_INPUTS = {"email": "email", "date": "date", "uri": "url"}
_SCALARS = ("string", "integer", "number", "boolean")


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the values that a field can have."""

    value: Json
    label: str


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of a form."""

    key: str  #: of the input; never anything from a schema
    member: str | None  #: of the body; None: the body itself
    kind: str  #: lines, choice, flag, number, or the type of a text input
    label: str
    hint: str | None
    required: bool
    choices: tuple[Choice, ...] = ()
    whole: bool = False  #: the number is an integer
    shortest: int = 0
    longest: int = 4_000

    @property
    def step(self) -> str:
        """The step attribute of a number input."""
        return "1" if self.whole else "any"


class FieldFault(Exception):
    """What was filled in cannot be used. Carries the field and the phrase that says why."""

    def __init__(self, field: FormField, phrase: str, limit: int = 0) -> None:
        super().__init__()
        self.field = field
        self.phrase = phrase
        self.limit = limit


def make_form(outcomes: list[Json]) -> tuple[FormField, ...] | None:
    """The fields of a post action's form; None if it needs what no form can show."""
    merged: dict[str | None, FormField] = {}
    for outcome in outcomes:
        fields = _fields(outcome)
        if fields is None:
            return None
        for name, field in fields.items():
            merged[name] = _merge(merged[name], field) if name in merged else field
    if len(merged) > MAX_FIELDS or (None in merged and len(merged) > 1):
        return None
    needed = [set(_required(outcome["schema"])) for outcome in outcomes]
    everywhere = set.intersection(*needed)
    return tuple(
        replace(field, key=f"field-{index}", required=name is None or name in everywhere)
        for index, (name, field) in enumerate(merged.items())
    )


def make_title(outcomes: list[Json]) -> str | None:
    """What the schemas call what is filled in; None if they do not, or each has another name."""
    titles = {_title(outcome["schema"]) for outcome in outcomes}
    return titles.pop() if len(titles) == 1 else None


def read_answer(fields: tuple[FormField, ...], form: Mapping[str, str]) -> Json:
    """The JSON body that the filled-in *form* stands for.

    Raises:
        FieldFault: a field is empty or wrong.
    """
    body: dict[str, Json] = {}
    for field in fields:
        if field.kind == "flag":
            body[field.member or ""] = field.key in form
            continue
        text = clean_text(form.get(field.key, ""))
        if not text and field.required:
            raise FieldFault(field, "missing")
        if text and field.member is None:
            return _value(field, text)
        if text:
            body[field.member or ""] = _value(field, text)
    return body


def _value(field: FormField, text: str) -> Json:
    if field.kind == "choice":
        if not text.isdecimal() or not int(text[:4]) < len(field.choices):
            raise FieldFault(field, "missing")
        return field.choices[int(text[:4])].value
    if field.kind == "number":
        return _number(field, text)
    if len(text) > field.longest:
        raise FieldFault(field, "too_long", field.longest)
    if len(text) < field.shortest:
        raise FieldFault(field, "too_short", field.shortest)
    return text


def _number(field: FormField, text: str) -> int | float:
    match = re.fullmatch(r"[+-]?\d{1,15}([.,]\d{1,15})?", text, re.ASCII)
    if match is None or (field.whole and match[1]):
        raise FieldFault(field, "not_a_number")
    return float(text.replace(",", ".")) if match[1] else int(text)


def _fields(outcome: Json) -> dict[str | None, FormField] | None:
    schema = _followed(outcome["schema"], outcome["schema"])
    kinds = schema.get("type", "object")
    if kinds == "string":
        return {None: _text_field(None, schema)}
    if kinds != "object" and not (isinstance(kinds, list) and "object" in kinds):
        return None
    fields: dict[str | None, FormField] = {}
    required = _required(schema)
    for name, described in schema.get("properties", {}).items():
        field = _field(name, described, outcome["schema"])
        if field is not None:
            fields[name] = field
        elif name in required:
            return None
    for name in (*_read_members(outcome), *required):
        fields.setdefault(name, _text_field(name, {}))
    return fields


def _field(name: str, described: Json, root: Json) -> FormField | None:
    schema = _followed(described, root) if isinstance(described, dict) else {}
    if described is False:
        return None
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if values is not None:
        choices = tuple(Choice(value, _shown(value)) for value in values[:MAX_CHOICES])
        return replace(_text_field(name, schema), kind="choice", choices=choices, shortest=1)
    kinds = schema.get("type", "string")
    kind = next((one for one in _SCALARS if one == kinds or one in kinds), None)
    if kind is None:
        return None
    field = _text_field(name, schema)
    if kind == "boolean":
        return replace(field, kind="flag")
    if kind in ("integer", "number"):
        return replace(field, kind="number", whole=kind == "integer", shortest=1)
    return field


def _text_field(name: str | None, schema: Mapping[str, Json]) -> FormField:
    longest, shortest = schema.get("maxLength", 4_000), schema.get("minLength", 0)
    kind = _INPUTS.get(str(schema.get("format")))
    hint = schema.get("description")
    return FormField(
        key="",
        member=name,
        kind=kind or ("lines" if longest > SHORT_TEXT else "text"),
        label=_title(schema) or _label(name)[:MAX_LABEL],
        hint=hint[:MAX_HINT] if isinstance(hint, str) and hint.strip() else None,
        required=False,
        # A person who must write something does not mean the empty text.
        shortest=max(1, int(shortest)),
        longest=int(longest),
    )


def _title(schema: Json) -> str | None:
    title = schema.get("title") if isinstance(schema, Mapping) else None
    return title[:MAX_LABEL] if isinstance(title, str) and title.strip() else None


def _merge(one: FormField, other: FormField) -> FormField:
    if one.kind == other.kind == "choice":
        more = tuple(choice for choice in other.choices if choice not in one.choices)
        return replace(one, choices=one.choices + more)
    # Described in two ways: a text, and the schemas say which outcome it fits.
    return one if one.kind == other.kind else replace(one, kind="lines", choices=())


def _followed(schema: Mapping[str, Json], root: Mapping[str, Json]) -> Mapping[str, Json]:
    for _ in range(_REFERENCE_HOPS):
        match = _LOCAL.fullmatch(str(schema.get("$ref", "")))
        if match is None:
            break
        named = root.get(match[1])
        found = named.get(match[2]) if isinstance(named, dict) else None
        schema = found if isinstance(found, dict) else {}
    return schema


def _required(schema: Mapping[str, Json]) -> list[str]:
    required = _followed(schema, schema).get("required", [])
    return required if isinstance(required, list) else []


def _read_members(outcome: Mapping[str, Json]) -> Iterator[str]:
    """The members that the outcome's paths read, as far as they are plain."""
    for name in ("output_path", "error_path", "cause_path"):
        match = _MEMBER.fullmatch(outcome.get(name, ""))
        if match is not None:
            yield match[1] or match[3]


def _label(name: str | None) -> str:
    words = (name or "answer").replace("_", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:]


def _shown(value: Json) -> str:
    text = value if isinstance(value, str) else dumps(value).decode()
    return text[:MAX_LABEL]
