"""The entry point of the click function.

Lambda imports this module once per execution environment and calls `handler` for each event.
"""

import os
import sys
from importlib.util import LazyLoader, find_spec, module_from_spec


def import_when_used(*names: str) -> None:
    """Put off the content of modules that others import and a look at a page never uses.

    `dataclasses` imports `inspect`, and so on: a tenth of what a cold start imports. This is the
    recipe of `importlib`'s documentation.
    """
    for name in names:
        spec = find_spec(name)
        if name in sys.modules or spec is None or spec.loader is None:
            continue
        spec.loader = loader = LazyLoader(spec.loader)
        module = sys.modules[name] = module_from_spec(spec)
        loader.exec_module(module)


import_when_used("inspect", "ipaddress", "json", "random", "secrets", "tokenize")
# Where zones are on Linux; the interpreter would load its build's settings to find out.
os.environ.setdefault("PYTHONTZPATH", "/usr/share/zoneinfo")

# After what they would import, and the variable that `zoneinfo` reads.
from app.aws_lambda.clicks import Clicks  # noqa: E402
from app.aws_lambda.rendering import CompiledTemplates, compiled_languages  # noqa: E402

handler = Clicks(CompiledTemplates(), compiled_languages()).handle
