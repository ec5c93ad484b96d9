"""The face of metering: unpacks, calls, packs."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from headgate.metering.v1 import metering_pb2
from headgate_clock import Clock
from headgate_metering.leasing import Leasing
from headgate_metering.ledger import Ledger
from headgate_metering.usage import UsageQuery
from headgate_metering.wire import grant_message, read_ask, record_message, usage_message
from headgate_rpc.call import CallContext
from headgate_rpc.errors import HeadgateError, Reason
from headgate_rpc.watch import WatchSource

_LARGEST_BATCH = 1000


@dataclass(frozen=True, slots=True)
class MeteringServicer:
    """headgate.metering.v1.MeteringService."""

    leasing: Leasing
    ledger: Ledger
    usage: UsageQuery
    policies: WatchSource[metering_pb2.RatePolicy]
    clock: Clock

    async def AcquireLeases(
        self, request: metering_pb2.AcquireLeasesRequest, call: CallContext
    ) -> metering_pb2.AcquireLeasesResponse:
        """One grant for each ask, in order. INVALID_REQUEST: no holder, more than 1,000 asks, a malformed ask."""
        _check_batch(request.holder_id, "holder_id", len(request.asks), "asks")
        try:
            asks = [read_ask(message) for message in request.asks]
            grants = await self.leasing.acquire(request.holder_id, asks)
        except ValueError as fault:
            raise HeadgateError(Reason.INVALID_REQUEST, f"{fault}.", field="asks") from None
        now_ms = self.clock.wall_ms()
        return metering_pb2.AcquireLeasesResponse(
            grants=[grant_message(grant, request.holder_id, now_ms) for grant in grants]
        )

    async def RecordUsage(
        self, request: metering_pb2.RecordUsageRequest, call: CallContext
    ) -> metering_pb2.RecordUsageResponse:
        """Answers once every event is booked. INVALID_REQUEST: no producer, more than 1,000 events."""
        _check_batch(request.producer_id, "producer_id", len(request.events), "events")
        await self.ledger.record(request.producer_id, request.events)
        return metering_pb2.RecordUsageResponse()

    async def WatchPolicies(
        self, request: metering_pb2.WatchPoliciesRequest, call: CallContext
    ) -> AsyncIterator[metering_pb2.WatchPoliciesResponse]:
        """The policies, then their changes, without end."""
        async for message in self.policies.follow(request.position, metering_pb2.WatchPoliciesResponse):
            yield message

    async def GetUsage(
        self, request: metering_pb2.GetUsageRequest, call: CallContext
    ) -> metering_pb2.GetUsageResponse:
        """Sums of the caller's account. INVALID_REQUEST: the period ends before it starts."""
        report = await self.usage.report(_account(call), request.start_ms, request.end_ms)
        return metering_pb2.GetUsageResponse(
            start_ms=report.period.start_ms,
            end_ms=report.period.end_ms,
            models=[usage_message(model, report.models[model]) for model in sorted(report.models)],
        )

    async def ListUsageRecords(
        self, request: metering_pb2.ListUsageRecordsRequest, call: CallContext
    ) -> metering_pb2.ListUsageRecordsResponse:
        """Settled calls of the caller's account. INVALID_REQUEST: a wrong page size or token."""
        account_id = _account(call)
        if request.call_id:
            records = await self.usage.record_of(account_id, request.call_id)
        else:
            records = await self.usage.records(account_id, request.page_size, request.page_token)
        return metering_pb2.ListUsageRecordsResponse(
            records=[record_message(each) for each in records.settlements],
            next_page_token=records.next_page_token,
        )


def _check_batch(sender: str, sender_field: str, size: int, field: str) -> None:
    if not sender:
        message = f"Field '{sender_field}' is missing."
        raise HeadgateError(Reason.INVALID_REQUEST, message, field=sender_field)
    if size > _LARGEST_BATCH:
        message = f"A batch holds at most {_LARGEST_BATCH} {field}."
        raise HeadgateError(Reason.INVALID_REQUEST, message, field=field)


def _account(call: CallContext) -> str:
    if call.principal is None:
        raise HeadgateError(Reason.UNAUTHORIZED, "Usage belongs to an account; send a credential.")
    return call.principal.account_id
