"""A client is cut when it is late, and a connection is closed when nobody has used it for its whole time."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from headgate_gateway.patience import Patience


class Timer:
    """What the loop gives for a call that is due later."""

    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """A loop whose time is set."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.now + delay, callback))
        return self.timers[-1]

    def go_to(self, now: float) -> None:
        self.now = now
        due = [timer for timer in self.timers if timer.due <= now and not timer.cancelled]
        self.timers = [timer for timer in self.timers if timer not in due]
        for timer in due:
            timer.callback()


class Scene:
    def __init__(self) -> None:
        self.loop = Loop()
        self.called: list[str] = []
        loop = cast(asyncio.AbstractEventLoop, self.loop)
        self.patience = Patience(
            loop, 10, lambda: self.called.append("late"), lambda: self.called.append("idle")
        )


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_what_does_not_come_in_time_is_late_once(scene: Scene) -> None:
    scene.patience.expect(5)
    scene.loop.go_to(4)
    assert (scene.called, scene.patience.expects) == ([], True)
    scene.loop.go_to(5)
    scene.loop.go_to(50)
    assert (scene.called, scene.patience.expects) == (["late"], False)


def test_a_new_expectation_replaces_the_old_one(scene: Scene) -> None:
    scene.patience.expect(5)
    scene.loop.go_to(4)
    scene.patience.expect(5)
    scene.loop.go_to(8)
    assert scene.called == []
    scene.patience.expect_nothing()
    scene.loop.go_to(50)
    assert scene.called == []


def test_an_unused_connection_ends_after_its_whole_time(scene: Scene) -> None:
    scene.patience.idle()
    scene.loop.go_to(9)
    scene.patience.busy()
    scene.patience.idle()
    scene.loop.go_to(10)
    scene.loop.go_to(18)
    assert scene.called == []
    scene.loop.go_to(19)
    assert scene.called == ["idle"]


def test_a_request_that_runs_long_is_not_idle(scene: Scene) -> None:
    scene.patience.idle()
    scene.loop.go_to(5)
    scene.patience.busy()
    scene.loop.go_to(100)
    assert scene.called == []
    scene.patience.idle()
    scene.loop.go_to(109)
    assert scene.called == []
    scene.loop.go_to(110)
    assert scene.called == ["idle"]


def test_many_requests_share_one_timer(scene: Scene) -> None:
    for _ in range(100):
        scene.patience.busy()
        scene.patience.idle()
    assert len(scene.loop.timers) == 1


def test_nothing_rings_after_the_end(scene: Scene) -> None:
    scene.patience.expect(5)
    scene.patience.idle()
    scene.patience.end()
    scene.loop.go_to(50)
    assert scene.called == []
