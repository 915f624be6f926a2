"""The entry point of the click function. What follows it imports; so here it is said what not yet.

Lambda imports this module once per execution environment and calls `handler` for each event.
"""

from app.aws_lambda.deferred import defer, defer_package

defer("asyncio", "inspect", "json")
defer_package("app.approvals.store")

# After what they would import.
from app.aws_lambda.clicks import Clicks  # noqa: E402
from app.aws_lambda.rendering import CompiledTemplates, compiled_languages  # noqa: E402

handler = Clicks(CompiledTemplates(), compiled_languages()).handle
