"""`GET /v1/usage` (USE-1 to USE-3)."""

from urllib.parse import parse_qsl

from headgate.metering.v1.metering_pb2 import GetUsageRequest, GetUsageResponse
from headgate_clients.metering import MeteringClient
from headgate_gateway.exchange import Exchange
from headgate_gateway.strict_json import encode
from headgate_gateway.timestamps import format_ts, parse_end, parse_start
from headgate_money.units import usd


class Usage:
    """Usage sums from `metering`, within `timeout` seconds."""

    def __init__(self, metering: MeteringClient, timeout: float) -> None:
        self._metering = metering
        self._timeout = timeout

    async def get(self, exchange: Exchange) -> None:
        """Sums of a period, by default this calendar month; `start` and `end` are days or timestamps, inclusive."""
        query = dict(parse_qsl(exchange.wire.query.decode("latin-1")))
        request = GetUsageRequest(
            start_ms=parse_start(query["start"], "start") if "start" in query else 0,
            end_ms=parse_end(query["end"], "end") if "end" in query else 0,
        )
        reply = await self._metering.get_usage(request, exchange.options(self._timeout))
        await exchange.answer(encode(usage_object(reply.message)), reply.metadata)


def usage_object(usage: GetUsageResponse) -> dict[str, object]:
    """The sums, in USD. Totals are the sums of what the rows show, so that a client can add them up."""
    models = {
        row.model: {
            "requests": row.requests,
            "tokens": row.quantities.input_tokens + row.quantities.output_tokens,
            "cost": usd(row.cost_nano_usd),
        }
        for row in usage.models
    }
    return {
        "period": {"start": format_ts(usage.start_ms), "end": format_ts(usage.end_ms - 1000)},
        "usage": {
            "total_requests": sum(row["requests"] for row in models.values()),
            "total_tokens": sum(row["tokens"] for row in models.values()),
            "total_cost": round(sum(row["cost"] for row in models.values()), 6),
            "models": models,
        },
    }
