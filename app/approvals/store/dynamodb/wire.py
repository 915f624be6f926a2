"""Items and conditions as DynamoDB's API writes them."""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from app.json_value import Json

Item = Mapping[str, Any]  #: attributes by name: str, int, bool, bytes, lists and maps of them


class Key(NamedTuple):
    """Where an item lies."""

    pk: str
    sk: str

    @property
    def wire(self) -> Json:
        """The key as the API takes it."""
        return {"pk": {"S": self.pk}, "sk": {"S": self.sk}}


#: (attribute, operator, value); the operators "exists" and "absent" have no value
Condition = tuple[str, str, Any]

_FUNCTIONS = {"exists": "attribute_exists", "absent": "attribute_not_exists"}


def query(table: str, conditions: Sequence[Condition], index: str | None = None) -> Json:
    """The members of Query; without an *index* the read is strongly consistent."""
    names = Names()
    members = {"TableName": table, "KeyConditionExpression": names.all(conditions), **names.wire()}
    return members | ({"IndexName": index} if index else {"ConsistentRead": True})


def to_wire_item(item: Item) -> Json:
    """*item* as the API takes it; absent values are left out."""
    return {name: to_wire(value) for name, value in item.items() if value is not None}


def from_wire_item(item: Json) -> dict[str, Any]:
    """The item that the API gave."""
    return {name: from_wire(value) for name, value in item.items()}


def to_wire(value: Any) -> Json:
    """One value with its type."""
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, bytes):
        return {"B": b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {"M": to_wire_item(value)}
    return {"L": [to_wire(member) for member in value]}


def from_wire(value: Json) -> Any:
    """One value without its type."""
    [(kind, content)] = value.items()
    if kind == "N":
        return int(content)
    if kind == "B":
        return b64decode(content)
    if kind == "M":
        return from_wire_item(content)
    if kind == "L":
        return [from_wire(member) for member in content]
    return content  # S and BOOL


class Names:
    """Placeholders for names and values: many plain words are reserved in expressions."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[str, Json] = {}

    def of(self, name: str) -> str:
        """The placeholder of an attribute's name."""
        return self._names.setdefault(name, f"#n{len(self._names)}")

    def put(self, value: Any) -> str:
        """A placeholder for *value*."""
        placeholder = f":v{len(self._values)}"
        self._values[placeholder] = to_wire(value)
        return placeholder

    def all(self, conditions: Sequence[Condition]) -> str:
        """All of *conditions*."""
        return " AND ".join(self._one(*condition) for condition in conditions)

    def _one(self, name: str, operator: str, value: Any) -> str:
        if operator in _FUNCTIONS:
            return f"{_FUNCTIONS[operator]}({self.of(name)})"
        if operator == "between":
            low, high = value
            return f"{self.of(name)} BETWEEN {self.put(low)} AND {self.put(high)}"
        return f"{self.of(name)} {operator} {self.put(value)}"

    def wire(self) -> Json:
        """What the placeholders stand for."""
        names: Json = {"ExpressionAttributeNames": {v: k for k, v in self._names.items()}}
        return names | ({"ExpressionAttributeValues": self._values} if self._values else {})
