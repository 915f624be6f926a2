"""Where things lie in the table (the package's docstring has the picture)."""

from datetime import datetime

from app.approvals.store.dynamodb.wire import Key
from app.clock import to_ms

WRAPS = Key("W", "wraps")
PROBE = Key("W", "probe")  #: written by health checks
DIGESTS = "D"  #: the partition of the audit's digests
ROW = "a"
PAYLOAD = "c"

_APPROVAL, _NOTICE, _EXECUTION, _MAILBOX = "A#", "N#", "E#", "M#"
_MAIL_SEPARATOR = "|"


def partition(approval_id: str) -> str:
    """Where all items of an approval lie."""
    return _APPROVAL + approval_id


def approval_of(pk: str) -> str | None:
    """The approval whose partition *pk* is."""
    return pk[len(_APPROVAL) :] if pk.startswith(_APPROVAL) else None


def notice_of(pk: str) -> str | None:
    """The notice whose partition *pk* is."""
    return pk[len(_NOTICE) :] if pk.startswith(_NOTICE) else None


def row_key(approval_id: str) -> Key:
    """The approval's row."""
    return Key(partition(approval_id), ROW)


def request_key(approval_id: str, part: int = 0) -> Key:
    """A part of the approval's request; the first has the sealed task token too."""
    return Key(partition(approval_id), f"b{part:02d}")


def payload_key(approval_id: str) -> Key:
    """The frozen answer."""
    return Key(partition(approval_id), PAYLOAD)


def entry_key(approval_id: str, seq: int) -> Key:
    """An entry of the approval's audit."""
    return Key(partition(approval_id), f"t{seq:08d}")


def notice_key(notice_id: str) -> Key:
    """A notice."""
    return Key(_NOTICE + notice_id, "n")


def mail_key(pk: str, round_: int, recipient: int) -> Key:
    """A mail to one recipient of what lies in the partition *pk*."""
    return Key(pk, f"m{round_:04d}.{recipient:04d}")


def mail_id(key: Key) -> str:
    """What the mail at *key* is called outside the store."""
    return f"{key.pk}{_MAIL_SEPARATOR}{key.sk}"


def mail_of(name: str) -> Key | None:
    """The key of the mail that is called *name*; None if no mail can be called that."""
    pk, _, sk = name.rpartition(_MAIL_SEPARATOR)
    return Key(pk, sk) if pk and sk.startswith("m") else None


def execution_partition(execution_arn: str) -> str:
    """Where the approvals of an execution are listed."""
    return _EXECUTION + execution_arn


def mail_count_key(mailbox: bytes, hour: int) -> Key:
    """How many mails an address got in an hour (of the epoch)."""
    return Key(f"{_MAILBOX}{mailbox.hex()}", f"h{hour:09d}")


def digest_key(first: int) -> Key:
    """The digest whose first entry has this number."""
    return Key(DIGESTS, f"d{first:015d}")


def place(created_at: datetime, approval_id: str) -> str:
    """A text that sorts approvals by creation; those of one millisecond by their id."""
    return f"{to_ms(created_at):013d}#{approval_id}"


def round_and_recipient(mail: Key) -> tuple[int, int]:
    """What the key of a mail says."""
    round_, _, recipient = mail.sk[1:].partition(".")
    return int(round_), int(recipient)
