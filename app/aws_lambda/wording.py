"""The templates and phrases of mails and pages. Imported with the first of them."""

from jinja2 import Environment

from app.approvals.language import Languages
from app.approvals.language_files import load_languages
from app.aws_lambda.options import Options
from app.templating import environment


def load_wording(options: Options) -> tuple[Environment, Languages]:
    """The shipped templates, and all languages with the deployment's defaults."""
    return environment(), load_languages(None, options.time_zone, options.language)
