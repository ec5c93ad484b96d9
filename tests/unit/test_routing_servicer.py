"""Followers get no table before there is one: an empty table would make every model unknown."""

import asyncio
from types import SimpleNamespace
from typing import cast

from headgate.routing.v1.routing_pb2 import Route, WatchRoutesRequest
from headgate_routing.servicer import RoutingServicer
from headgate_rpc.call import CallContext

CALL = cast(CallContext, SimpleNamespace())


async def test_the_first_message_waits_for_the_first_table() -> None:
    servicer = RoutingServicer()
    first = asyncio.ensure_future(anext(servicer.WatchRoutes(WatchRoutesRequest(), CALL)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not first.done()
    servicer.replace({"m": Route(name="m")})
    assert [route.name for route in (await first).part.items] == ["m"]


async def test_a_replaced_table_is_sent_as_what_changed() -> None:
    servicer = RoutingServicer()
    servicer.replace({"m": Route(name="m"), "n": Route(name="n")})
    watch = servicer.WatchRoutes(WatchRoutesRequest(), CALL)
    await anext(watch)
    servicer.replace({"m": Route(name="m"), "o": Route(name="o")})
    delta = (await anext(watch)).delta
    assert [route.name for route in delta.upserts] == ["o"]
    assert list(delta.deletes) == ["n"]
