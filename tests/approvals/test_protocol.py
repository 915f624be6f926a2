"""The rules of an approval's life, as values."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from app.approvals.approval_ids import approval_id
from app.approvals.attempts import Retry, after_busy, after_refusal, after_silence
from app.approvals.model import (
    Action,
    Approval,
    CommentRule,
    Decision,
    Failure,
    Payload,
    Recipient,
    Request,
    State,
    Success,
)
from app.approvals.payloads import decision_payload, expiry_payload, payload_digest
from app.approvals.protocol import MOVES, as_of
from app.strict_json import loads
from tests.approvals.world import NOW

REQUEST = Request(
    title="Deploy?",
    message=None,
    facts=(),
    requester=None,
    recipients=(Recipient("marc@example.com", "Marc"),),
    actions=(
        Action("approve", "Approve", "primary", CommentRule.OPTIONAL, Success({"ok": True})),
        Action("reject", "Reject", "danger", CommentRule.OPTIONAL, Failure("Rejected")),
        Action("fail", "Fail", "danger", CommentRule.OPTIONAL, Failure("Failed", "As agreed.")),
        Action("list", "List", "default", CommentRule.OPTIONAL, Success([1, "\u00e9"])),
    ),
    expires_at=NOW + timedelta(days=7),
    on_expiry=None,
    execution_arn=None,
)
APPROVAL = Approval("approval-1", "embedded", REQUEST, State.PENDING, NOW)
DECISION = Decision("d1", "approve", 0, "marc@example.com", NOW, None)


def test_only_pending_and_decided_can_be_left() -> None:
    """Every other state is final."""
    assert set(MOVES) == {State.PENDING, State.DECIDED}
    assert {state for moves in MOVES.values() for state in moves} == set(State) - {State.PENDING}


def test_the_same_task_always_has_the_same_approval() -> None:
    """The id comes from target and token alone, and has 128 bits."""
    first = approval_id("embedded", "token")

    assert first == approval_id("embedded", "token") == "amz2xuybfm7iaxze7dlcjvrzt4"
    assert len({first, approval_id("aws", "token"), approval_id("embedded", "token2")}) == 3


def test_target_and_token_cannot_be_shifted_into_each_other() -> None:
    """The id is of the pair, not of the two texts put together."""
    assert approval_id("a", "bc") != approval_id("ab", "c")


def test_a_pending_approval_is_expired_from_its_date_on() -> None:
    """Also before anything was written down."""
    before = as_of(APPROVAL, REQUEST.expires_at - timedelta(milliseconds=1))
    after = as_of(APPROVAL, REQUEST.expires_at)

    assert before == APPROVAL
    assert after == replace(APPROVAL, state=State.EXPIRED, closed_at=REQUEST.expires_at)


def test_a_decided_approval_does_not_expire() -> None:
    """What was decided in time stays decided."""
    decided = replace(APPROVAL, state=State.DECIDED, decision=DECISION)

    assert as_of(decided, REQUEST.expires_at) == decided


def test_an_object_output_carries_the_decision() -> None:
    """Workflows read who decided, when and why from the output."""
    payload = decision_payload("approval-1", REQUEST, replace(DECISION, comment="Fine."))

    assert payload.error is None
    assert payload.output is not None
    assert loads(payload.output) == {
        "ok": True,
        "approval": {
            "id": "approval-1",
            "action": "approve",
            "by": "marc@example.com",
            "at": "2025-11-12T09:41:00.000Z",
            "comment": "Fine.",
            "decision_id": "d1",
        },
    }


def test_any_other_output_is_sent_as_it_is() -> None:
    """A list stays a list."""
    payload = decision_payload("approval-1", REQUEST, replace(DECISION, action="list"))

    assert payload == Payload(output='[1,"\u00e9"]')


@pytest.mark.parametrize(
    ("action", "comment", "cause"),
    [
        ("reject", "No.", "No."),
        (
            "reject",
            None,
            "Marc <marc@example.com> chose Reject at 2025-11-12T09:41:00.000Z (decision_id=d1).",
        ),
        ("fail", "No.", "As agreed."),
        ("fail", None, "As agreed."),
    ],
)
def test_the_cause_of_a_failure(action: str, comment: str | None, cause: str) -> None:
    """The mint's cause, else the comment, else a sentence that names who and when."""
    decision = replace(DECISION, action=action, comment=comment)
    error = "Rejected" if action == "reject" else "Failed"

    assert decision_payload("approval-1", REQUEST, decision) == Payload(error=error, cause=cause)


def test_without_on_expiry_nothing_is_sent() -> None:
    """Silence is no answer unless the mint says so."""
    assert expiry_payload("approval-1", REQUEST) is None
    told = expiry_payload("approval-1", replace(REQUEST, on_expiry=Failure("Expired", "Late.")))
    assert told == Payload(error="Expired", cause="Late.")


def test_the_digest_of_a_payload_is_of_all_of_it() -> None:
    """Output, error and cause cannot be mistaken for each other."""
    payloads = [
        Payload(output="a"),
        Payload(error="a"),
        Payload(error="a", cause=""),
        Payload(error="a", cause="b"),
        Payload(error="ab"),
    ]

    assert len({payload_digest(payload) for payload in payloads}) == len(payloads)


def test_delays_double_up_to_a_minute_and_start_at_nothing() -> None:
    """Full jitter: any moment between now and a limit that doubles."""
    longest = [after_busy(n, "x", lambda low, high: high).delay_s for n in (1, 2, 6, 7, 1000)]
    shortest = [after_busy(n, "x", lambda low, high: low).delay_s for n in (1, 1000)]

    assert longest == [1.0, 2.0, 32.0, 60.0, 60.0]
    assert shortest == [0.0, 0.0]


def test_rows_that_failed_together_do_not_come_back_together() -> None:
    """After a throttling storm no second gets more than a tenth of five hundred."""
    uniform = random.Random(7).uniform
    seconds = [int(after_busy(7, "x", uniform).delay_s) for _ in range(500)]

    assert max(seconds.count(second) for second in set(seconds)) <= 50


def test_a_service_that_is_down_is_asked_every_few_seconds() -> None:
    """So that it is told within five seconds of its return, the sweeper's second included."""
    longest = [after_silence(n, "x", lambda low, high: high).delay_s for n in (1, 2, 3, 1000)]

    assert longest == [1.0, 2.0, 3.0, 3.0]
    assert not after_silence(399, "x", random.uniform).needs_operator
    assert after_silence(400, "x", random.uniform).needs_operator


def test_an_operator_is_called_for_refusals_and_for_endless_attempts() -> None:
    """Retrying goes on, slowly; somebody is told."""
    assert after_refusal("AccessDenied", lambda low, high: low) == Retry(30.0, True, "AccessDenied")
    assert not after_busy(19, "x", random.uniform).needs_operator
    assert after_busy(20, "x", random.uniform).needs_operator
