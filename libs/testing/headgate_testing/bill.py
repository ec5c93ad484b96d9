"""Judges a run by three counts that know nothing of each other: what the provider emitted, what the client
received, what the ledger billed."""

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from headgate.metering.v1.metering_pb2 import OUTCOME_COMPLETED, ListUsageRecordsRequest, UsageEvent
from headgate_clients.metering import MeteringClient
from headgate_rpc.channel import Options


@dataclass(frozen=True, slots=True)
class Received:
    """What a client saw of one request of its own. `answered`: it got reply headers; `completed`: it got the
    whole reply; `pieces`: content pieces it counted."""

    request_id: str
    answered: bool
    completed: bool
    pieces: int


async def all_records(client: MeteringClient, options: Options, from_ms: int = 0) -> list[UsageEvent]:
    """Every settled call of the account that began at `from_ms` (ms since the epoch) or later."""
    records: list[UsageEvent] = []
    request = ListUsageRecordsRequest(page_size=200)
    while True:
        reply = (await client.list_usage_records(request, options)).message
        records += reply.records
        if not reply.next_page_token or began_ms(records[-1]) < from_ms:
            return [record for record in records if began_ms(record) >= from_ms]
        request.page_token = reply.next_page_token


def began_ms(record: UsageEvent) -> int:
    """When the call began, ms since the epoch: the first 48 bits of its UUIDv7."""
    return uuid.UUID(record.call.call_id).int >> 80


def faults_of(
    received: Iterable[Received], emitted: Mapping[str, int], records: Iterable[UsageEvent]
) -> list[str]:
    """Everything that breaks `one settled row for each call, received <= billed <= emitted`, equal for what
    completed; in words, empty for a sound run. `emitted` counts pieces by request id."""
    rows = list(records)
    faults = [f"{call_id}: {n} rows" for call_id, n in Counter(r.call.call_id for r in rows).items() if n > 1]
    by_request: dict[str, list[UsageEvent]] = {}
    for row in rows:
        by_request.setdefault(row.call.request_id, []).append(row)
    for one in received:
        found = by_request.get(one.request_id, [])
        faults += _faults_of_one(one, emitted.get(one.request_id, 0), found)
    return faults


def _faults_of_one(one: Received, emitted: int, rows: list[UsageEvent]) -> list[str]:
    name = one.request_id
    if len(rows) > 1:
        return [f"{name}: {len(rows)} rows for one request"]
    if not rows:
        lost = one.answered or one.pieces or emitted
        return [f"{name}: lost ({one.pieces} received, {emitted} emitted)"] if lost else []
    billed = rows[0].quantities.output_tokens
    if not one.pieces <= billed <= emitted:
        return [f"{name}: received {one.pieces} <= billed {billed} <= emitted {emitted} does not hold"]
    if one.completed and (billed != one.pieces or rows[0].outcome != OUTCOME_COMPLETED):
        return [f"{name}: completed with {one.pieces}, billed {billed}, outcome {rows[0].outcome}"]
    return []
