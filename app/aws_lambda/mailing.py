"""What sends mails, as the functions have it. Imported with the first mail: it is much."""

from jinja2 import Environment

from app.approvals.language import Languages
from app.approvals.mail.messages import MailWriter
from app.approvals.mail.mime import Mailbox
from app.approvals.mail.outbox import MailWorker
from app.approvals.service import ApprovalService
from app.approvals.store.interface import ApprovalStore
from app.aws_lambda.channel import open_channel
from app.aws_lambda.options import Options


def mail_worker(
    options: Options,
    service: ApprovalService,
    store: ApprovalStore,
    templates: Environment,
    languages: Languages,
) -> MailWorker:
    """A worker that sends what is due when it is told to.

    Raises:
        StartRefused: there is no way out for mails.
    """
    writer = MailWriter(
        templates, languages, mail_from=Mailbox.parse(options.mail_from), link=service.link
    )
    return MailWorker(store=store, writer=writer, channel=open_channel(options))
