"""Jinja2's templates without Jinja2: compiled when the package is built, rendered with these names.

Jinja2 turns a template into Python (`tools/lambda_package.py` keeps that as modules of the package
`app.compiled_templates`); its own runtime imports the compiler and all filters, which is a third of
a cold decision page. Here is the part of the runtime that pages use: values, conditions, loops
over lists, blocks of one parent. What a template uses beyond that, the build refuses.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

from markupsafe import Markup as Markup
from markupsafe import escape as escape

from app.approvals.language import FALLBACK, Language, Languages

#: what compiled templates use of `environment`
MEMBERS = frozenset({"concat", "get_template", "getattr", "undefined"})
#: what compiled templates import from here
RUNTIME = ("Markup", "Undefined", "environment", "escape", "missing", "str_join")

#: marks a name that has no value
missing: Any = object()

Render = Callable[["_Context"], Iterator[str]]


class Undefined:
    """A name without a value: using it is a mistake of the template, as under StrictUndefined."""

    def __init__(self, name: str) -> None:
        raise LookupError(f"The template uses {name}, which is not given.")


def str_join(parts: tuple[object, ...]) -> str:
    """The texts of all *parts* in a row."""
    return "".join(map(str, parts))


class _Context:
    """What one rendering knows."""

    def __init__(self, words: Mapping[str, Any]) -> None:
        self._words = words
        self.blocks: dict[str, list[Render]] = {}

    def resolve_or_missing(self, name: str) -> Any:
        return self._words.get(name, missing)


class CompiledTemplate:
    """One template."""

    def __init__(self, module: Any) -> None:
        self.root_render_func: Render = module.root
        self.blocks: Mapping[str, Render] = module.blocks

    def render(self, **words: Any) -> str:
        """The template's text with *words* in it, escaped."""
        context = _Context(words)
        context.blocks = {name: [block] for name, block in self.blocks.items()}
        return "".join(self.root_render_func(context))


class CompiledTemplates:
    """The templates of this package; what compiled templates call their environment."""

    undefined = Undefined
    concat = "".join

    def get_template(self, name: str, _parent: str | None = None) -> CompiledTemplate:
        """The template called *name*, such as "pages/decide.html"."""
        module = import_module(f"app.compiled_templates.{module_name(name)}")
        return CompiledTemplate(module)

    def getattr(self, value: Any, name: str) -> Any:
        """What ``value.name`` is in a template: a member of a mapping, or an attribute."""
        return value[name] if isinstance(value, Mapping) else getattr(value, name)


def module_name(template: str) -> str:
    """The name of the module that a template becomes."""
    return "".join(character if character.isalnum() else "_" for character in template)


def compiled_languages() -> Languages:
    """The languages of this package, with the defaults of the settings."""
    content = import_module("app.compiled_templates.languages")
    tongues = {tag: Language(**language) for tag, language in content.LANGUAGES.items()}
    zone = os.environ.get("SIGNOFF_TIME_ZONE", "UTC")
    return Languages(tongues, zone, os.environ.get("SIGNOFF_LANGUAGE", FALLBACK))


#: what the modules call `environment`
environment = CompiledTemplates()
