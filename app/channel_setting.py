"""The channel of mails that the settings name."""

from app.approvals.channels import Channel
from app.approvals.channels.ses import SesChannel, connect_ses
from app.approvals.channels.smtp import SmtpChannel, SmtpServer
from app.errors import StartRefused
from app.settings import ChannelKind, Settings


def make_channel(settings: Settings) -> Channel:
    """The way mails go out.

    Raises:
        StartRefused: a setting is missing or wrong.
    """
    if settings.channel is ChannelKind.SES:
        if not settings.mail_from:
            raise StartRefused("SIGNOFF_MAIL_FROM is needed: an address that SES has verified.")
        return SesChannel(connect_ses(), configuration_set=settings.ses_configuration_set)
    if settings.smtp_url is None or not settings.mail_from:
        raise StartRefused(
            "SIGNOFF_SMTP_URL and SIGNOFF_MAIL_FROM are needed: the mail server, such as "
            "smtp://user:password@mail.example.com:587, and the sender's address."
        )
    return SmtpChannel(SmtpServer.parse(settings.smtp_url.get_secret_value()))
