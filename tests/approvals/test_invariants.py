"""The click protocol's invariants (C.5) under whatever order of events hypothesis comes up with.

Two clickers at a time, the sweeper, expiry, withdrawal, timeouts, strangers who complete the task,
lost answers of store and workflow service, and crashes: a crash abandons the service with all it
was doing and opens a new one on the same file.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from app.approvals.answers import Decided
from app.approvals.attempts import Settled
from app.approvals.audit_check import check_audit
from app.approvals.model import Approval, Decision, State
from app.approvals.store.interface import Ballot
from app.approvals.store.sqlite import SqliteStore
from app.errors import Conflict, StoreError, StoreUnavailable, StoreUnconfirmed
from tests.approvals.workflow import Fault
from tests.approvals.world import World, open_world

T = TypeVar("T")

#: for the next calls of the store under test: None, before the write, after the write
STORE_FAULTS: deque[type[StoreError] | None] = deque()


class FlakyStore(SqliteStore):
    """A real store whose answers are sometimes lost, before or after the write."""

    async def decide(self, ballot: Ballot) -> bytes | None:
        return await _flaky(super().decide, ballot)

    async def settle(self, approval_id: str, settled: Settled, now: Any) -> bool:
        return await _flaky(super().settle, approval_id, settled, now)


async def _flaky(call: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    fault = STORE_FAULTS.popleft() if STORE_FAULTS else None
    if fault is StoreUnavailable:
        raise fault
    result = await call(*arguments)
    if fault is not None:
        raise fault
    return result


actions = st.sampled_from(["approve", "reject"])
people = st.integers(0, 1)
clicks = st.tuples(actions, people, st.sampled_from([None, "Because."]))
workflow_faults = st.lists(
    st.sampled_from([None, *Fault]).filter(lambda fault: fault is not Fault.DENIED), max_size=3
)
store_faults = st.lists(st.sampled_from([None, StoreUnavailable, StoreUnconfirmed]), max_size=2)


class Protocol(RuleBasedStateMachine):
    """Approvals in the hands of people, clocks and crashes."""

    approvals = Bundle("approvals")

    def __init__(self) -> None:
        super().__init__()
        STORE_FAULTS.clear()
        self.folder = TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.abandoned: list[World] = []
        self.tokens: dict[str, str] = {}  # by approval id
        self.told: list[tuple[Approval, tuple[str, int, str | None], Decided]] = []
        self.seen: dict[str, Decision] = {}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def _open(self, before: World | None = None) -> World:
        return await open_world(
            Path(self.folder.name) / "approvals.sqlite3",
            workflow=before.workflow if before else None,
            clock=before.clock if before else None,
            opens=FlakyStore.open,
            inline_s=0.001,
        )

    @initialize(target=approvals)
    def start(self) -> Any:
        self.world = self.run(self._open())
        return multiple(self._mint(False, 600), self._mint(True, 60))

    @rule(target=approvals, tells_on_expiry=st.booleans(), expires_in=st.sampled_from([60, 600]))
    def mint(self, tells_on_expiry: bool, expires_in: int) -> Approval:
        return self._mint(tells_on_expiry, expires_in)

    def _mint(self, tells_on_expiry: bool, expires_in: int) -> Approval:
        token = f"token-{len(self.tokens)}"
        on_expiry = {"type": "failure", "error": "Expired"} if tells_on_expiry else None
        changes = {"on_expiry": on_expiry, "expires_in": expires_in}
        approval = self.run(self.world.mint(token, **changes))
        self.tokens[approval.id] = token
        return approval

    @rule(approval=approvals, clicks=st.lists(clicks, min_size=1, max_size=3),
          faults=workflow_faults, store=store_faults, sweeps=st.booleans())  # fmt: skip
    def click(
        self,
        approval: Approval,
        clicks: list[tuple[str, int, str | None]],
        faults: list[Fault | None],
        store: list[type[StoreError] | None],
        sweeps: bool,
    ) -> None:
        self.world.workflow.faults.extend(faults)
        STORE_FAULTS.extend(store)
        self.run(self._click(approval, clicks, sweeps))

    async def _click(
        self, approval: Approval, clicks: list[tuple[str, int, str | None]], sweeps: bool
    ) -> None:
        decisions = [
            self.world.decide(approval, action, by=by, comment=comment)
            for action, by, comment in clicks
        ]
        sweeping = [self.world.sweeper.sweep()] if sweeps else []
        results = await asyncio.gather(*decisions, *sweeping, return_exceptions=True)
        for click, result in zip(clicks, results, strict=False):
            if isinstance(result, Decided):
                self.told.append((approval, click, result))
            else:
                assert isinstance(result, StoreError), result

    @rule(faults=workflow_faults)
    def sweep(self, faults: list[Fault | None]) -> None:
        self.world.workflow.faults.extend(faults)
        self.run(self._sweep_a_while())

    async def _sweep_a_while(self) -> None:
        await self.world.sweeper.sweep()
        for _ in range(20):
            await asyncio.sleep(0)

    @rule(seconds=st.sampled_from([1, 14, 16, 61]))
    def advance(self, seconds: int) -> None:
        self.world.clock.advance(seconds=seconds)

    @rule(approval=approvals)
    def revoke(self, approval: Approval) -> None:
        try:
            self.run(self.world.service.revoke(approval.id))
        except Conflict:
            return

    @rule(approval=approvals, ends=st.sampled_from(["time_out", "abort", "stranger"]))
    def task_ends(self, approval: Approval, ends: str) -> None:
        token, workflow = self.tokens[approval.id], self.world.workflow
        if not workflow.is_open(token):
            return
        if ends == "time_out":
            workflow.time_out(token)
        elif ends == "abort":
            workflow.abort(token)
        else:
            workflow.complete(token, '{"ok":true}')

    @rule()
    def hanging_calls_go_on(self) -> None:
        self.world.workflow.release.set()
        self.run(self._sweep_a_while())
        self.world.workflow.release.clear()

    @precondition(lambda self: len(self.abandoned) < 3)
    @rule()
    def crash(self) -> None:
        self.abandoned.append(self.world)
        self.world = self.run(self._open(self.world))
        self.run(self.world.sweeper.recover())

    @invariant()
    def a_decision_never_changes(self) -> None:
        """I1."""
        for approval_id in self.tokens:
            record = self.run(self.world.store.approval(approval_id))
            assert record is not None
            if approval_id in self.seen:
                assert record.decision == self.seen[approval_id]
            elif record.decision is not None:
                self.seen[approval_id] = record.decision

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.run(self._finish())
        self.loop.close()
        self.folder.cleanup()

    async def _finish(self) -> None:
        """Everything works again; then all that was promised must be true."""
        STORE_FAULTS.clear()
        workflow = self.world.workflow
        workflow.faults.clear()
        workflow.release.set()
        for world in self.abandoned:
            await world.service.delivery.idle()
        await self.world.service.delivery.idle()
        await self.world.settle()
        for approval_id, token in self.tokens.items():
            await self._check(approval_id, token)
        for approval, click, decided in self.told:
            await self._check_told(approval, click, decided)
        report = await check_audit(self.world.store, self.world.ring)
        assert report.holds, report.fault
        for world in (*self.abandoned, self.world):
            await world.close()

    async def _check(self, approval_id: str, token: str) -> None:
        record = await self.world.store.approval(approval_id)
        assert record is not None
        outcome = self.world.workflow.outcome(token)
        events = await self.world.events(record)
        decided = record.decision is not None
        # I3: what was decided is proven by now; what was not is open or over.
        assert record.state is not State.DECIDED
        # I2: delivered, if and only if the task was closed by our answer.
        assert (record.state is State.DELIVERED) == (decided and _is_ours(record, outcome))
        # I6: without a decision, nothing of ours but the answer on expiry.
        if not decided:
            told = outcome is not None and outcome != '{"ok":true}'
            assert told == (record.state is State.EXPIRED and record.delivered_at is not None)
            assert not told or outcome[0] == "Expired"
        # I4 and I7: one closing event at most, and one DECIDED entry for each decision.
        assert self.world.workflow.closings(token) <= 1
        assert events.count("DECIDED") == int(decided)

    async def _check_told(
        self, approval: Approval, click: tuple[str, int, str | None], decided: Decided
    ) -> None:
        """I5: nobody was told a decision other than the record's, or that it was theirs if not."""
        record = await self.world.store.approval(approval.id)
        assert record is not None
        if decided.approval.decision is not None:
            assert decided.approval.decision == record.decision
        if decided.mine:
            assert record.decision is not None
            assert (record.decision.action, record.decision.recipient) == click[:2]


def _is_ours(record: Approval, outcome: Any) -> bool:
    decision = record.decision
    assert decision is not None
    if decision.action == "approve":
        return isinstance(outcome, str) and decision.id in outcome
    if not isinstance(outcome, tuple):
        return False
    return decision.comment == outcome[1] or decision.id in outcome[1]


Protocol.TestCase.settings = settings(
    max_examples=200,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestProtocol = Protocol.TestCase
