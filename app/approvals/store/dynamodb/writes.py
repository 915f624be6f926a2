"""Changes of items as DynamoDB's API writes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.approvals.store.dynamodb.wire import Condition, Item, Key, Names, to_wire_item
from app.strict_json import Json

_OLD_IMAGE = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


@dataclass(frozen=True, slots=True)
class Update:
    """A change to one item; nothing happens if *conditions* do not hold."""

    key: Key
    conditions: Sequence[Condition]
    sets: Item = field(default_factory=dict)
    removes: Sequence[str] = ()
    adds: Mapping[str, int] = field(default_factory=dict)

    def wire(self, table: str) -> Json:
        """The members of UpdateItem, which are those of a transaction's Update too."""
        names = Names()
        parts = []
        if self.sets:
            changes = [
                f"{names.of(name)} = {names.put(value)}" for name, value in self.sets.items()
            ]
            parts.append("SET " + ", ".join(changes))
        if self.removes:
            parts.append("REMOVE " + ", ".join(names.of(name) for name in self.removes))
        if self.adds:
            changes = [f"{names.of(name)} {names.put(value)}" for name, value in self.adds.items()]
            parts.append("ADD " + ", ".join(changes))
        members = {"TableName": table, "Key": self.key.wire, "UpdateExpression": " ".join(parts)}
        if self.conditions:
            members |= {"ConditionExpression": names.all(self.conditions), **_OLD_IMAGE}
        return members | names.wire()


@dataclass(frozen=True, slots=True)
class Put:
    """A new item; nothing happens if there is one with its key."""

    item: Item

    def wire(self, table: str) -> Json:
        """The members of PutItem, which are those of a transaction's Put too."""
        return {
            "TableName": table,
            "Item": to_wire_item(self.item),
            "ConditionExpression": "attribute_not_exists(pk)",
            **_OLD_IMAGE,
        }


Write = Update | Put
