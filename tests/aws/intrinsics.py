"""Intrinsic functions of CloudFormation, as far as the template uses them, with made-up names."""

import re
from collections.abc import Mapping
from typing import Any

from app.strict_json import Json

ACCOUNT, REGION = "123456789012", "us-east-1"
_PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "signoff",
    "AWS::NoValue": None,
}


class Resolver:
    """Values of a translated template under *parameters*; resources are named by *names*."""

    def __init__(
        self,
        template: Mapping[str, Any],
        parameters: Mapping[str, str],
        names: Mapping[str, str],
    ) -> None:
        """*names*: what Ref gives for a resource, by logical id; "<id>.<attribute>" for GetAtt."""
        defaults = {
            name: one.get("Default") for name, one in template.get("Parameters", {}).items()
        }
        self._values = {**_PSEUDO, **defaults, **parameters}
        self._names = names
        self._conditions = template.get("Conditions", {})

    def __call__(self, value: Json) -> Json:
        """*value* with all functions applied."""
        if isinstance(value, list):
            return [one for one in map(self, value) if one is not None]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(name, argument)] = value.items()
            function = getattr(self, "_" + name.rpartition(":")[2].lower(), None)
            if function is not None and (name == "Ref" or name.startswith("Fn::")):
                return function(argument)
        whole = {name: self(one) for name, one in value.items()}
        return {name: one for name, one in whole.items() if one is not None}

    def _ref(self, name: str) -> Json:
        return self._values[name] if name in self._values else self._names.get(name, name)

    def _getatt(self, path: list[str]) -> Json:
        return self._names.get(".".join(path), ".".join(path))

    def _sub(self, argument: Any) -> str:
        text, given = argument if isinstance(argument, list) else (argument, {})
        known = {name: self(one) for name, one in given.items()}

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name in known:
                return str(known[name])
            return str(self._getatt(name.split(".")) if "." in name else self._ref(name))

        return re.sub(r"\$\{([^!}]+)\}", value, text)

    def _if(self, argument: list[Any]) -> Json:
        condition, then, otherwise = argument
        return self(then if self._holds(self._conditions[condition]) else otherwise)

    def _holds(self, condition: dict[str, Any]) -> bool:
        [(name, argument)] = condition.items()
        if name == "Fn::Not":
            return not self._holds(argument[0])
        assert name == "Fn::Equals", name
        left, right = map(self, argument)
        return str(left) == str(right)
