"""What became of an answer is read from the history, and only what it proves."""

from typing import Any

import pytest

from app.approvals.attempts import Settled
from app.approvals.model import Payload, State
from app.approvals.reconcile import PATIENT_ATTEMPTS, Trail

TOKEN = "AQB8/token+1=="
DECISION_ID = "d" * 32
MARKED = f'{{"ok":true,"approval":{{"decision_id":"{DECISION_ID}"}}}}'
APPROVED = Payload(output=MARKED)
REJECTED = Payload(error="Rejected", cause="No.")
SENTENCE = Payload(error="Rejected", cause=f"Marc chose Reject (decision_id={DECISION_ID}).")

Events = list[dict[str, Any]]


def event(number: int, kind: str, previous: int, **details: Any) -> dict[str, Any]:
    """An event in the wire's shape."""
    member = {f"{kind[0].lower()}{kind[1:]}EventDetails": details} if details else {}
    return {"id": number, "previousEventId": previous, "type": kind, **member}


def scheduled(
    number: int, token: str = TOKEN, resource: str = "invoke.waitForTaskToken"
) -> dict[str, Any]:
    """A task that was handed *token*."""
    parameters = f'{{"Payload":{{"task_token":"{token}","title":"Deploy?"}}}}'
    return event(number, "TaskScheduled", number - 1, resource=resource, parameters=parameters)


def waiting(token: str = TOKEN) -> Events:
    """An execution up to a task that waits for *token*."""
    return [
        event(1, "ExecutionStarted", 0),
        event(2, "TaskStateEntered", 0),
        scheduled(3, token),
        event(4, "TaskStarted", 3),
        event(5, "TaskSubmitted", 4, output="{}"),
    ]


def verdict(events: Events, payload: Payload = APPROVED, attempts: int = 1) -> Settled | None:
    """What the history *events* says about *payload*."""
    trail = Trail(TOKEN, payload, DECISION_ID)
    for one in events:
        trail.read(one)
    return trail.verdict(attempts)


ENDINGS = [
    (APPROVED, event(6, "TaskSucceeded", 5, output=MARKED), State.DELIVERED),
    (
        APPROVED,
        event(
            6,
            "TaskSucceeded",
            5,
            output=f'{{"approval": {{"decision_id": "{DECISION_ID}"}}, "ok": true}}',
        ),
        State.DELIVERED,
    ),
    (APPROVED, event(6, "TaskSucceeded", 5, output='{"ok":true}'), State.SUPERSEDED),
    (APPROVED, event(6, "TaskSucceeded", 5, output=MARKED.replace("true", "1")), State.SUPERSEDED),
    (APPROVED, event(6, "TaskSucceeded", 5, output="not JSON"), State.SUPERSEDED),
    (APPROVED, event(6, "TaskSucceeded", 5), State.UNRESOLVED),
    (APPROVED, event(6, "TaskFailed", 5, error="Rejected", cause="No."), State.SUPERSEDED),
    (APPROVED, event(6, "TaskTimedOut", 5, error="States.Timeout"), State.TOO_LATE),
    (APPROVED, event(6, "TaskSubmitFailed", 4, error="E"), State.TOO_LATE),
    (REJECTED, event(6, "TaskFailed", 5, error="Rejected", cause="No."), State.DELIVERED),
    (REJECTED, event(6, "TaskFailed", 5, error="Rejected", cause="Nope."), State.SUPERSEDED),
    (REJECTED, event(6, "TaskFailed", 5, error="Other", cause="No."), State.SUPERSEDED),
    (REJECTED, event(6, "TaskFailed", 5), State.SUPERSEDED),
    (REJECTED, event(6, "TaskSucceeded", 5, output="{}"), State.SUPERSEDED),
    (Payload(error="E", cause=""), event(6, "TaskFailed", 5, error="E"), State.DELIVERED),
]


@pytest.mark.parametrize(("payload", "ending", "state"), ENDINGS)
def test_the_closing_event_of_the_task_decides(
    payload: Payload, ending: dict[str, Any], state: State
) -> None:
    """Only an equal answer is ours; a timeout is too late; anything else was somebody else."""
    found = verdict([*waiting(), ending], payload)

    assert found is not None
    assert found.state is state
    assert found.evidence.startswith(f"{ending['type']} 6")


@pytest.mark.parametrize("attempts", [1, 100])
def test_a_task_that_is_open_is_asked_about_again(attempts: int) -> None:
    """Reads may lag: as long as nothing closed the task, nothing is concluded."""
    assert verdict(waiting(), attempts=attempts) is None


@pytest.mark.parametrize(
    "ending", ["ExecutionAborted", "ExecutionTimedOut", "ExecutionFailed", "ExecutionSucceeded"]
)
def test_an_execution_that_ended_without_the_answer_is_too_late(ending: str) -> None:
    """The task went down with its execution."""
    assert verdict([*waiting(), event(6, ending, 0)]) == Settled(State.TOO_LATE, f"{ending} 6")


def test_each_of_many_parallel_tasks_has_its_own_answer() -> None:
    """Fifty tasks of one Map are told apart by their tokens."""
    events: Events = [event(1, "ExecutionStarted", 0)]
    for item in range(50):
        start = 2 + item * 3
        events += [
            scheduled(start, f"token-{item}"),
            event(start + 1, "TaskStarted", start),
            event(start + 2, "TaskSubmitted", start + 1, output="{}"),
        ]
    for item in range(50):
        number, last = 200 + item, 4 + item * 3
        if item % 2:
            events.append(event(number, "TaskSucceeded", last, output=f"[{item}]"))
        else:
            events.append(event(number, "TaskFailed", last, error="E", cause=str(item)))

    for item in range(50):
        payload = Payload(output=f"[{item}]") if item % 2 else Payload(error="E", cause=str(item))
        trail = Trail(f"token-{item}", payload, None)
        for one in events:
            trail.read(one)
        settled = trail.verdict(1)
        assert settled is not None
        assert settled.state is State.DELIVERED
        assert settled.evidence.endswith(f" {200 + item}")


def test_the_token_of_an_earlier_attempt_is_too_late_while_the_next_one_waits() -> None:
    """After a retry the old link cannot answer, and the new attempt is not touched."""
    events = [
        *waiting(),
        event(6, "TaskTimedOut", 5, error="States.Timeout"),
        scheduled(7, "another-token"),
        event(8, "TaskStarted", 7),
    ]

    assert verdict(events) == Settled(State.TOO_LATE, "TaskTimedOut 6")


def test_a_token_within_a_longer_one_is_another_token() -> None:
    """A token is found as a whole, not as a piece."""
    assert verdict([*waiting(TOKEN + "x"), *_closed(6, MARKED)]) == Settled(
        State.DELIVERED, "TaskSucceeded 6"
    )
    assert verdict([*waiting("x" + TOKEN), *_closed(6, '{"ok":true}')], REJECTED) == Settled(
        State.SUPERSEDED, "TaskSucceeded 6"
    )


def _closed(number: int, output: str) -> Events:
    return [event(number, "TaskSucceeded", number - 1, output=output)]


def test_a_later_task_that_is_handed_the_token_is_not_the_one() -> None:
    """Passing the token on, for a confirmation, does not confuse."""
    events = [
        *waiting(),
        event(6, "TaskSucceeded", 5, output=MARKED),
        scheduled(7, TOKEN, resource="invoke"),
        event(8, "TaskStarted", 7),
        event(9, "TaskSucceeded", 8, output="{}"),
    ]

    assert verdict(events) == Settled(State.DELIVERED, "TaskSucceeded 6")


def test_an_activity_is_recognised_as_the_only_task_that_waits() -> None:
    """The token of an activity is in no event; there is just one it can be of."""
    events = [
        event(1, "ExecutionStarted", 0),
        event(2, "TaskStateEntered", 0),
        event(3, "ActivityScheduled", 2, resource="arn:aws:states:::activity:a", input="{}"),
        event(4, "ActivityStarted", 3, workerName="w"),
        event(5, "ActivityFailed", 4, error="Rejected", cause="No."),
    ]

    assert verdict(events, REJECTED) == Settled(State.DELIVERED, "ActivityFailed 5")
    assert verdict(events, APPROVED) == Settled(State.SUPERSEDED, "ActivityFailed 5")


def hidden(count: int) -> Events:
    """Several tasks that hide their tokens."""
    events: Events = [event(1, "ExecutionStarted", 0)]
    for item in range(count):
        events += [
            scheduled(2 + item * 2, "hidden"),
            event(3 + item * 2, "TaskStarted", 2 + item * 2),
        ]
    return events


@pytest.mark.parametrize("payload", [APPROVED, SENTENCE])
def test_an_answer_that_carries_the_decision_is_ours_wherever_it_is(payload: Payload) -> None:
    """With hidden tokens the decision's id in the answer is the proof."""
    ending = (
        event(9, "TaskSucceeded", 5, output=payload.output)
        if payload.output
        else event(9, "TaskFailed", 5, error=payload.error, cause=payload.cause)
    )

    found = verdict([*hidden(3), event(8, "TaskTimedOut", 3), ending], payload)

    assert found == Settled(State.DELIVERED, f"{ending['type']} 9")


def test_an_equal_answer_without_the_decision_proves_nothing_when_tokens_are_hidden() -> None:
    """Two people may give the same reason for two tasks."""
    events = [*hidden(3), event(9, "TaskFailed", 5, error="Rejected", cause="No.")]

    assert verdict(events, REJECTED, attempts=1) is None
    assert verdict(events, REJECTED, attempts=PATIENT_ATTEMPTS) == Settled(
        State.UNRESOLVED, "no event of the history holds the task token"
    )


def test_an_ended_execution_without_our_mark_is_too_late() -> None:
    """Had the answer been taken, it would be there with its mark."""
    ended = [*hidden(3), event(9, "ExecutionAborted", 0)]

    assert verdict(ended, APPROVED) == Settled(State.TOO_LATE, "ExecutionAborted 9")
    assert verdict(ended, REJECTED) == Settled(
        State.UNRESOLVED, "no event of the history holds the task token"
    )


def test_a_branch_that_was_given_up_is_too_late_once_reads_cannot_lag_any_more() -> None:
    """When another branch failed, ours ended without an event of its own."""
    events = [
        *waiting(),
        event(6, "TaskFailed", 99, error="E"),  # of the other branch
        event(7, "TaskStateAborted", 6),
        event(8, "ParallelStateFailed", 6),
        event(9, "ParallelStateExited", 8),
    ]

    assert verdict(events, attempts=1) is None
    assert verdict(events, attempts=PATIENT_ATTEMPTS) == Settled(
        State.TOO_LATE, "TaskStateAborted 7"
    )


def test_a_redriven_execution_has_not_ended() -> None:
    """After a redrive the execution runs again; what closed the task counts."""
    events = [*waiting(), event(6, "ExecutionAborted", 0), event(7, "ExecutionRedriven", 6)]

    assert verdict(events) is None
