"""What the DynamoDB store does when DynamoDB does not answer as it should."""

from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import pytest

from app.approvals.attempts import Settled
from app.approvals.audit import check_chain
from app.approvals.audit_check import check_audit
from app.approvals.mail.model import MailResult, MailState, Notice
from app.approvals.model import Recipient, State
from app.approvals.store.dynamodb import audit_items, rows
from app.approvals.store.dynamodb.in_place import InPlace
from app.approvals.store.dynamodb.store import DynamoStore
from app.approvals.store.dynamodb.table import PATIENCE_S, Table
from app.approvals.store.dynamodb.wire import Key, to_wire
from app.aws_json import AwsJsonClient, AwsRefused, AwsSilent
from app.errors import StoreUnavailable, StoreUnconfirmed, TooLarge
from app.strict_json import Json
from tests.approvals.store.moto import moto_url
from tests.approvals.store.tables import create_table, dynamodb_client
from tests.approvals.store.test_contract import LATER, ballot, events, found, lease, new
from tests.approvals.world import NOW, ring

#: what happens to a call, or is done before it
Fault = str | AwsRefused | None | Callable[[], "str | AwsRefused | None"]
#: the line dies before the call is sent, before it is applied, or after that
UNREACHED, UNAPPLIED, UNANSWERED = "unreached", "unapplied", "unanswered"
TRANSACT = "TransactWriteItems"

T = TypeVar("T")


def refused(code: str, status: int = 400, **answer: Any) -> AwsRefused:
    """An error answer."""
    return AwsRefused(code, status, answer)


def cancelled(*codes: str) -> AwsRefused:
    """A transaction that was not made, with the code of each write."""
    reasons = [{"Code": code} for code in codes]
    return refused("TransactionCanceledException", CancellationReasons=reasons)


@dataclass
class Line:
    """A client whose calls go wrong as the test says."""

    client: AwsJsonClient
    faults: dict[str, deque[Fault]] = field(default_factory=dict)
    always: dict[str, Fault] = field(default_factory=dict)
    calls: list[tuple[str, Json]] = field(default_factory=list)
    time_s: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def call(self, operation: str, members: Json) -> Json:
        self.calls.append((operation, members))
        queue = self.faults.get(operation)
        fault = queue.popleft() if queue else self.always.get(operation)
        if callable(fault):
            fault = fault()
        if isinstance(fault, AwsRefused):
            raise fault
        if fault in (UNREACHED, UNAPPLIED):
            raise AwsSilent("ConnectionError", sent=fault == UNAPPLIED)
        answer = self.client.call(operation, members)
        if fault == UNANSWERED:
            raise AwsSilent("TimeoutError", sent=True)
        return answer

    def close(self) -> None:
        self.client.close()

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time_s += max(seconds, 0.001)

    def tokens(self) -> list[str]:
        """The ClientRequestTokens of the transactions, in order."""
        return [told["ClientRequestToken"] for name, told in self.calls if name == TRANSACT]


@pytest.fixture
def line(tmp_path: Path) -> Line:
    """The line to moto's DynamoDB."""
    return Line(dynamodb_client(moto_url()))


@pytest.fixture
def store(tmp_path: Path, line: Line) -> DynamoStore:
    """A store at the other end of the line."""
    name = "approvals-" + sha256(str(tmp_path).encode()).hexdigest()[:16]
    create_table(line.client, name)
    return DynamoStore(
        Table(line, name, monotonic=lambda: line.time_s, sleep=line.sleep), InPlace()
    )


def another(store: DynamoStore, line: Line) -> DynamoStore:
    """Another process's store in the same table, whose line is good."""
    return DynamoStore(Table(line.client, store.table.name), InPlace())


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """What *work* of a store that works in place gives; it never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("it waits for something")


def before(work: Coroutine[Any, Any, object]) -> None:
    """Do *work*, and let the call go on."""
    at_once(work)


@pytest.mark.parametrize("faults", [[UNANSWERED], [UNAPPLIED, UNREACHED, UNANSWERED]])
async def test_a_lost_answer_is_no_lost_decision(
    store: DynamoStore, line: Line, faults: list[Fault]
) -> None:
    """The decision was recorded, its answer lost: repeated with one token, it counts once."""
    await store.mint(new())
    line.calls.clear()
    line.faults[TRANSACT] = deque(faults)

    assert await store.decide(ballot()) == b"sealed approval-1"

    assert line.tokens() == ["d1"] * (len(faults) + 1)
    assert (await found(store)).decision == ballot().decision
    assert await events(store) == ["CREATED", "DECIDED"]


async def test_a_decision_whose_every_answer_is_lost_is_read_back(
    store: DynamoStore, line: Line
) -> None:
    """When nothing is heard until the end, the audit tells whose decision is there."""
    await store.mint(new())
    line.faults[TRANSACT] = deque([UNANSWERED])
    line.always[TRANSACT] = UNAPPLIED

    assert await store.decide(ballot()) == b"sealed approval-1"
    assert line.time_s <= PATIENCE_S


async def test_a_decision_that_may_still_arrive_is_unconfirmed(
    store: DynamoStore, line: Line
) -> None:
    """Sent, unanswered and not to be seen: nobody can know."""
    await store.mint(new())
    line.always[TRANSACT] = UNAPPLIED

    with pytest.raises(StoreUnconfirmed):
        await store.decide(ballot())

    assert (await found(store)).state is State.PENDING


async def test_an_unreadable_store_does_not_make_an_unconfirmed_decision_undone(
    store: DynamoStore, line: Line
) -> None:
    """When the reading back fails too, it is still unknown."""
    await store.mint(new())

    def go_silent() -> str:
        line.always |= {TRANSACT: UNAPPLIED, "GetItem": UNAPPLIED}
        return UNAPPLIED

    line.faults[TRANSACT] = deque([go_silent])

    with pytest.raises(StoreUnconfirmed):
        await store.decide(ballot())


async def test_a_decision_that_was_never_sent_is_not_recorded(
    store: DynamoStore, line: Line
) -> None:
    """Nobody was reached: that is known."""
    await store.mint(new())
    line.always[TRANSACT] = UNREACHED

    with pytest.raises(StoreUnavailable):
        await store.decide(ballot())


async def test_a_lost_race_is_not_taken_for_a_lost_answer(store: DynamoStore, line: Line) -> None:
    """An attempt had no answer, and meanwhile somebody else decided: their decision counts."""
    await store.mint(new())
    other = another(store, line)

    def decide_first() -> None:
        at_once(other.decide(ballot(decision_id="first", action="reject")))

    line.faults[TRANSACT] = deque([UNAPPLIED, decide_first])

    assert await store.decide(ballot(decision_id="second")) is None
    decision = (await found(store)).decision
    assert decision is not None
    assert decision.id == "first"


@pytest.mark.parametrize(
    "fault",
    [
        refused("ThrottlingException"),
        refused("ProvisionedThroughputExceededException"),
        refused("RequestLimitExceeded"),
        refused("InternalServerError", 500),
        refused("Http503", 503),
        refused("TransactionInProgressException"),
        refused("ExpiredTokenException"),
        cancelled("TransactionConflict", "None", "None"),
        cancelled("None", "None", "ThrottlingError"),
        cancelled("ProvisionedThroughputExceeded", "TransactionConflict", "None"),
    ],
    ids=lambda fault: fault.code,
)
async def test_busy_is_tried_again_with_the_same_token(
    store: DynamoStore, line: Line, fault: AwsRefused
) -> None:
    """Throttling, conflicts and faults of DynamoDB pass; pauses are random and grow."""
    await store.mint(new())
    line.calls.clear()
    line.faults[TRANSACT] = deque([fault] * 5)

    assert await store.decide(ballot())

    assert line.tokens() == ["d1"] * 6
    assert len(set(line.pauses)) == 5
    assert max(line.pauses) <= 1.0


async def test_patience_ends(store: DynamoStore, line: Line) -> None:
    """A table that throttles for ever gives a clear answer in bounded time."""
    await store.mint(new())
    line.always[TRANSACT] = refused("ThrottlingException")
    line.always["Query"] = refused("ThrottlingException")

    with pytest.raises(StoreUnavailable):
        await store.decide(ballot())
    with pytest.raises(StoreUnavailable):
        await store.mail_states("approval-1")

    assert line.time_s <= 2 * PATIENCE_S


@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException"])
async def test_what_will_not_mend_itself_is_not_tried_again(
    store: DynamoStore, line: Line, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing permission is one line in the log, with the code and nothing stored."""
    line.always[TRANSACT] = refused(code, message="sealed approval-1")

    with pytest.raises(StoreUnavailable):
        await store.mint(new())

    assert line.pauses == []
    [record] = [one for one in caplog.records if one.levelname == "ERROR"]
    assert (record.message, record.__dict__["code"]) == ("the table refuses", code)
    assert "sealed" not in str(vars(record))


@pytest.mark.parametrize("losses", [1, 1_000])
async def test_a_mint_whose_answer_is_lost_is_new_all_the_same(
    store: DynamoStore, line: Line, losses: int
) -> None:
    """It is told apart from a mint of somebody else."""
    line.faults[TRANSACT] = deque([UNANSWERED] * losses)

    assert await store.mint(new())

    line.faults[TRANSACT] = deque([UNANSWERED])
    assert not await store.mint(replace(new(), sealed_token=b"other"))
    assert await events(store) == ["CREATED"]
    assert len(await store.claim_mails(NOW, LATER, 10)) == 2


async def test_a_decision_goes_on_from_wherever_the_audit_is(
    store: DynamoStore, line: Line
) -> None:
    """Mails that are settled at the same moment do not cost a decision."""
    await store.mint(new())
    line.calls.clear()
    other = another(store, line)
    sent = [MailResult(mail.id, MailState.SENT) for mail in await other.claim_mails(NOW, LATER, 9)]
    line.faults[TRANSACT] = deque(
        partial(before, other.finish_mails([result], LATER)) for result in sent
    )

    assert await store.decide(ballot())
    assert await events(store) == ["CREATED", "MAIL_SENT", "MAIL_SENT", "DECIDED"]
    # Other parameters need another token, or DynamoDB would refuse them.
    assert len(set(line.tokens())) == 3


async def test_a_click_costs_three_calls_and_no_read_too_many(
    store: DynamoStore, line: Line
) -> None:
    """The page's read serves the decision, and the decision serves the proof."""
    await store.mint(new())
    line.calls.clear()

    await store.approval("approval-1")
    assert await store.decide(ballot())
    assert await store.settle("approval-1", Settled(State.DELIVERED, "proof"), LATER)

    assert [operation for operation, _ in line.calls] == ["Query", TRANSACT, TRANSACT]
    assert await events(store) == ["CREATED", "DECIDED", "DELIVERED"]


@pytest.mark.parametrize("first", [True, False])
async def test_a_row_that_was_seen_long_ago_is_not_trusted(
    store: DynamoStore, line: Line, first: bool
) -> None:
    """What another process did since is found out, whichever way it went."""
    await store.mint(new())
    await store.approval("approval-1")
    other = another(store, line)
    if first:
        await other.decide(ballot(decision_id="first"))
        assert await store.decide(ballot(decision_id="second")) is None
        assert await store.settle("approval-1", Settled(State.DELIVERED, "proof"), LATER)
    else:
        await other.resend("approval-1", LATER)
        assert await store.decide(ballot(decision_id="second"))

    found_ = (await found(store)).decision
    assert found_ is not None
    assert found_.id == ("first" if first else "second")
    chain = await store.chain("approval-1")
    assert chain is not None
    assert check_chain(chain) is None


async def test_a_settled_answer_whose_answer_is_lost_is_settled_once(
    store: DynamoStore, line: Line
) -> None:
    """The proof is stored once, and whoever stored it knows."""
    await store.mint(new())
    await store.decide(ballot())
    line.faults[TRANSACT] = deque([UNANSWERED])

    assert await store.settle("approval-1", Settled(State.DELIVERED, "proof"), LATER)
    assert not await store.settle("approval-1", Settled(State.DELIVERED, "proof"), LATER)
    assert await events(store) == ["CREATED", "DECIDED", "DELIVERED"]


async def test_a_claim_whose_answer_is_lost_is_a_claim(store: DynamoStore, line: Line) -> None:
    """What was taken is known by its lease, and nobody else gets it."""
    await store.mint(new(recipients=["a@example.com"]))
    await store.decide(ballot())
    due = lease().until
    line.faults["UpdateItem"] = deque([UNANSWERED, None, UNANSWERED])

    [owed] = await store.claim(lease("b", until=due + timedelta(seconds=15)), due, 10)
    [mail] = await store.claim_mails(due, due + timedelta(minutes=1), 10)

    assert (owed.attempts, mail.attempts) == (2, 1)
    assert await another(store, line).claim(lease("c"), due, 10) == []


async def test_a_claim_that_another_made_is_not_ours(store: DynamoStore, line: Line) -> None:
    """An attempt without answer, and meanwhile somebody else took it."""
    await store.mint(new())
    await store.decide(ballot())
    due = lease().until
    other = another(store, line)
    taken = partial(before, other.claim(lease("b", until=due + timedelta(seconds=15)), due, 10))
    line.faults["UpdateItem"] = deque([UNAPPLIED, taken])

    assert await store.claim(lease("c", until=due + timedelta(seconds=15)), due, 10) == []


# Sizes


async def test_a_request_larger_than_an_item_is_kept_in_parts(store: DynamoStore) -> None:
    """DynamoDB takes 400 KiB in an item; what goes beyond lies in the next ones."""
    big = new(
        actions=[
            {"name": f"a{n}", "outcome": {"type": "success", "output": {"text": "x" * 200_000}}}
            for n in range(5)
        ]
    )
    await store.mint(big)

    for _ in range(2):  # from the table, and from memory
        assert (await found(store)).request == big.request
    [listed], _ = await store.list(None, 10, None)
    assert listed.request == big.request
    assert await events(store) == ["CREATED"]


async def test_a_request_that_no_transaction_takes_is_refused(store: DynamoStore) -> None:
    """It is the request's fault, not the store's."""
    with pytest.raises(TooLarge, match="too large to be stored"):
        await store.mint(replace(new(), document={"text": "x" * rows.MAX_REQUEST_BYTES}))


async def test_fifty_recipients_fit_into_a_transaction(store: DynamoStore) -> None:
    """The most that a request may have; also when their mails are sent again."""
    many = [f"r{n}@example.com" for n in range(50)]
    arn = "arn:aws:states:us-east-1:123456789012:execution:m:e"
    await store.mint(new(recipients=many, execution_arn=arn))

    assert await store.resend("approval-1", LATER)
    assert len(await store.mail_states("approval-1")) == 50


# Signing


async def test_digests_are_as_large_as_a_transaction(
    store: DynamoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit is in the next one."""
    assert audit_items.DIGEST_ENTRIES + 1 == 100
    monkeypatch.setattr(audit_items, "DIGEST_ENTRIES", 3)
    for number in range(4):
        await store.mint(new(f"approval-{number}"))

    sizes = []
    while digest := await store.sign_entries(ring(), NOW, 2_000):
        sizes.append(digest.last - digest.first + 1)

    assert sizes == [3, 1]
    report = await check_audit(store, ring())
    assert (report.holds, report.signed_entries) == (True, 4)


async def test_a_digest_whose_answer_is_lost_is_signed_once(store: DynamoStore, line: Line) -> None:
    """Numbers are given once."""
    await store.mint(new())
    line.faults[TRANSACT] = deque([UNANSWERED])

    first = await store.sign_entries(ring(), NOW, 10)

    assert await store.digests() == [first]
    assert await store.sign_entries(ring(), NOW, 10) is None


async def test_entries_that_another_process_signed_are_left_out(
    store: DynamoStore, line: Line
) -> None:
    """The index may still show them; the transaction does not count them again."""
    await store.mint(new())
    await store.mint(new("approval-2"))
    other = another(store, line)
    line.faults[TRANSACT] = deque([partial(before, other.sign_entries(ring(), NOW, 1))])

    digest = await store.sign_entries(ring(), LATER, 10)

    assert digest is not None
    assert (digest.number, digest.first, digest.last) == (2, 2, 2)
    assert (await check_audit(store, ring())).holds


# Somebody with write access


def _edit(line: Line, store: DynamoStore, key: Key, **changes: Any) -> None:
    names = {f"#{name}": name for name in changes}
    line.client.call(
        "UpdateItem",
        {
            "TableName": store.table.name,
            "Key": key.wire,
            "UpdateExpression": "SET " + ", ".join(f"#{name} = :{name}" for name in changes),
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": {f":{k}": to_wire(v) for k, v in changes.items()},
        },
    )


def _delete(line: Line, store: DynamoStore, *keys: Key) -> None:
    for key in keys:
        line.client.call("DeleteItem", {"TableName": store.table.name, "Key": key.wire})


Tampering = Callable[[Line, DynamoStore], None]

TAMPERINGS: dict[str, tuple[Tampering, str]] = {
    "the decision": (
        lambda line, store: _edit(line, store, Key("A#approval-1", "t00000002"), details=b"{}"),
        "entry 2 was changed",
    ),
    "the state": (
        lambda line, store: _edit(line, store, Key("A#approval-1", "a"), state="REVOKED"),
        "the record says REVOKED, the audit DECIDED",
    ),
    "the answer": (
        lambda line, store: _edit(line, store, Key("A#approval-1", "c"), output="{}"),
        "the answer to the workflow is not the one that was recorded",
    ),
    "an entry gone": (
        lambda line, store: _delete(line, store, Key("A#approval-1", "t00000001")),
        "entry 1 is missing",
    ),
    "an approval's row gone": (
        lambda line, store: _delete(line, store, Key("A#approval-1", "a")),
        "belongs to an approval that was removed",
    ),
    "a whole approval gone": (
        lambda line, store: _delete(
            line,
            store,
            *(Key("A#approval-1", sk) for sk in ("a", "t00000001", "t00000002")),
        ),
        "was removed",
    ),
    "a digest gone": (
        lambda line, store: _delete(line, store, Key("D", f"d{1:015d}")),
        "a digest before digest 2 was changed or removed",
    ),
}


@pytest.mark.parametrize(("tamper", "sentence"), TAMPERINGS.values(), ids=TAMPERINGS)
async def test_tampering_is_found(
    store: DynamoStore, line: Line, tamper: Tampering, sentence: str
) -> None:
    """Whoever may write the table cannot do so unnoticed."""
    await store.mint(new())
    await store.decide(ballot())
    await store.sign_entries(ring(), NOW, 100)
    await store.mint(new("approval-2"))
    await store.sign_entries(ring(), NOW, 100)
    assert (await check_audit(store, ring())).holds

    tamper(line, store)

    report = await check_audit(store, ring())
    assert report.fault is not None
    assert sentence in report.fault.sentence


async def test_an_approvals_chain_holds_after_a_whole_life(store: DynamoStore) -> None:
    """Minted, mailed, sent again, decided, told."""
    await store.mint(new(recipients=["a@example.com"]))
    for _ in range(2):
        [mail] = await store.claim_mails(LATER, LATER + timedelta(minutes=1), 10)
        await store.finish_mails([MailResult(mail.id, MailState.SENT)], LATER)
        await store.resend("approval-1", LATER)
    await store.decide(ballot())
    await store.settle("approval-1", Settled(State.DELIVERED, "proof"), LATER)

    chain = await store.chain("approval-1")
    assert chain is not None
    assert check_chain(chain) is None
    assert len(chain.entries) == 7


async def test_keys_that_a_batch_left_out_are_asked_for_again(
    store: DynamoStore, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB may answer a part of a batch; a list is whole all the same."""
    for number in range(3):
        await store.mint(new(f"approval-{number}"))
    through = line.client.call

    def one_each(operation: str, members: Json) -> Json:
        if operation != "BatchGetItem":
            return through(operation, members)
        [(table, wanted)] = members["RequestItems"].items()
        first, rest = wanted["Keys"][:1], wanted["Keys"][1:]
        answer = through(operation, {"RequestItems": {table: {**wanted, "Keys": first}}})
        return {**answer, "UnprocessedKeys": {table: {"Keys": rest}} if rest else {}}

    monkeypatch.setattr(line.client, "call", one_each)

    listed, _ = await store.list(None, 10, None)
    assert [one.id for one in listed] == ["approval-2", "approval-1", "approval-0"]


class LateIndex(Line):
    """A line to a table whose indexes have heard of nothing yet."""

    def call(self, operation: str, members: Json) -> Json:
        if "IndexName" in members:
            self.calls.append((operation, members))
            return {"Items": [], "Count": 0}
        return super().call(operation, members)


async def test_mails_of_ones_own_need_no_index(store: DynamoStore, line: Line) -> None:
    """What was just queued leaves at once, however late the index is; others find it there."""
    late = LateIndex(line.client)
    own = DynamoStore(Table(late, store.table.name), InPlace())
    notice = Notice("notice-1", (Recipient("a@example.com"),), "Done", None, (), NOW)
    await own.mint(new("approval-1"))
    await own.add_notice(notice)
    await own.resend("approval-1", NOW)

    claimed = [*await own.claim_mails(NOW, LATER, 2), *await own.claim_mails(NOW, LATER, 10)]

    named = [(one.approval_id or one.notice_id, one.round, one.recipient) for one in claimed]
    assert named == [
        ("approval-1", 0, 0),
        ("approval-1", 0, 1),
        ("notice-1", 0, 0),
        ("approval-1", 1, 0),
        ("approval-1", 1, 1),
    ]
    assert not [told for _, told in late.calls if "IndexName" in told]
    assert await own.claim_mails(NOW, LATER, 10) == []
    assert await another(store, line).claim_mails(NOW, LATER, 10) == []


async def test_a_mail_that_another_process_took_is_not_ones_own_any_more(
    store: DynamoStore, line: Line
) -> None:
    """It is sent once, and what others queued is found all the same."""
    other = another(store, line)
    await store.mint(new("approval-1"))
    await other.claim_mails(NOW, LATER, 10)
    await other.mint(new("approval-2"))

    claimed = await store.claim_mails(NOW, LATER, 10)

    assert [mail.approval_id for mail in claimed] == ["approval-2"] * 2
