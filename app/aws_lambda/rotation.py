"""Secret keys may be rotated while an execution environment lives: when to read them again.

Every few minutes, and at once for a link, or for the form behind it, that another environment
signed with a key that is not known here yet.
"""

import re

from app.approvals.keyring import KeyRing

#: for so long keys are used without a look whether there are newer ones
KEYS_LIVE_S = 300.0
#: between two looks for keys that are not known: links are cheap to forge
KEYS_REST_S = 3.0

#: the part of a form's nonce that names its key (`LinkSigner.form_nonce`)
_NONCE = rb"(?:^|&)nonce=[0-9]+\.([a-z2-7]+)\."


def may_judge(ring: KeyRing, age_s: float, link: str | None, form: bytes) -> bool:
    """Whether the keys of *ring*, read *age_s* ago, can tell what *link* and *form* are worth."""
    named = [] if link is None else [link.rpartition(".")[0].rpartition(".")[2]]
    nonce = re.search(_NONCE, form) if form else None
    if nonce is not None:
        named.append(nonce[1].decode())
    return age_s < (KEYS_LIVE_S if all(one in ring for one in named) else KEYS_REST_S)
