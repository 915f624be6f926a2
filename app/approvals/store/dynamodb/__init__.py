"""Approvals in one DynamoDB table.

An approval's items share the partition ``A#<id>``; their sort keys are in the order in which they
are read together:

| sort key | what | written |
|---|---|---|
| ``a`` | the row: state, decision, what is due when, the audit's head | at every move |
| ``b00`` ... | sealed task token, fingerprint, the request's document in parts | once |
| ``c`` | the frozen answer to the workflow | once |
| ``m<round>.<recipient>`` | a mail to one recipient | until it is settled |
| ``t<seq>`` | an entry of the audit | once, and when a digest covers it |

``N#<id>`` is a notice with its mails, ``E#<execution ARN>`` the approvals of an execution, ``D``
the audit's digests, ``W`` the wrapped data key. Dates are milliseconds since the epoch.

Rules kept here, beside those of the click protocol (C.4):

1. Every move of an approval is one transaction: its row, if the audit's head is the one that was
   read, and the next audit entry, if there is none. So two moves never both count, and a move that
   is sent twice counts once.
2. Base table reads are strongly consistent. The indexes (`definition.py`) are hints that are a
   little late: what they name is read again, or changed on a condition, before it counts.
3. Nothing expires by DynamoDB's TTL but what nobody needs any more.
"""
