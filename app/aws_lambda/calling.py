"""The sfn-callback-urls API, as the functions have it. Imported with the first call of it."""

from jinja2 import Environment

from app.approvals.compat.http import Callbacks
from app.approvals.compat.link import Switches
from app.approvals.language import Languages
from app.approvals.links import LinkSigner
from app.approvals.pages.frame import PageFrame
from app.approvals.service import ApprovalService
from app.aws_lambda.options import Options
from app.clock import utc_now


def callback_api(
    options: Options,
    service: ApprovalService,
    links: LinkSigner,
    templates: Environment,
    languages: Languages,
) -> Callbacks:
    """The API under the options of the deployment."""
    return Callbacks(
        service=service,
        links=links,
        frame=PageFrame(templates),
        languages=languages,
        switches=Switches(
            output_parameters=options.enable_output_parameters,
            post_actions=options.enable_post_actions,
            get_applies=options.callback_get == "apply",
        ),
        base_url=options.base_url,
        clock=utc_now,
    )
