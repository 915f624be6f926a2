"""How mails leave: SES, or SMTP by a secret that holds the server's address."""

from app.approvals.channels import Channel
from app.approvals.channels.ses import SesChannel, connect_ses
from app.approvals.channels.smtp import SmtpChannel, SmtpServer
from app.aws_lambda.options import Options
from app.errors import StartRefused
from app.secrets_source import read_secret_keys


def open_channel(options: Options) -> Channel:
    """The channel that *options* name.

    Raises:
        StartRefused: it cannot be used.
    """
    if options.channel == "ses":
        return SesChannel(connect_ses(), configuration_set=options.ses_configuration_set)
    address = read_secret_keys(options.smtp_url, "SIGNOFF_SMTP_URL")
    if not address:
        raise StartRefused("The secret of the parameter SmtpSecretArn is empty.")
    return SmtpChannel(SmtpServer.parse(address[0]))
