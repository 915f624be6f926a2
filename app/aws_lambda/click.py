"""The entry point of the click function.

Lambda imports this module once per execution environment and calls `handler` for each event.
"""

import gc
import os

# Nothing of what is imported is ever garbage: looking for some is a twentieth of a cold start.
gc.disable()
# Where zones are on Linux; the interpreter would load its build's settings to find out.
os.environ.setdefault("PYTHONTZPATH", "/usr/share/zoneinfo")

# After the variable that `zoneinfo` reads.
from app.aws_lambda.clicks import Clicks  # noqa: E402
from app.aws_lambda.rendering import CompiledTemplates, compiled_languages  # noqa: E402

handler = Clicks(CompiledTemplates(), compiled_languages()).handle
gc.freeze()
gc.enable()
