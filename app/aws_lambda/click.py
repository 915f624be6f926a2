"""The entry point of the click function. What follows it imports; so here it is said what not yet.

Lambda imports this module once per execution environment and calls `handler` for each event.
"""

import os

from app.aws_lambda import late_dataclasses
from app.aws_lambda.deferred import defer, defer_package

late_dataclasses.install()
defer("asyncio", "inspect", "ipaddress", "json", "random", "secrets", "tokenize")
defer_package("app.approvals.store")
# Where zones are on Linux; the interpreter would load its build's settings to find out.
os.environ.setdefault("PYTHONTZPATH", "/usr/share/zoneinfo")

# After what they would import.
from app.aws_lambda.clicks import Clicks  # noqa: E402
from app.aws_lambda.rendering import CompiledTemplates, compiled_languages  # noqa: E402

handler = Clicks(CompiledTemplates(), compiled_languages()).handle
