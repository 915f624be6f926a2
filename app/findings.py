"""What `signoff doctor` found: one line for each thing it looked at."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    ok: bool
    sentence: str
    mend: str = ""
