"""What /readyz and the gRPC health say: false only when nothing useful can be served."""

from functools import partial

from headgate_hosting.readiness import Readiness


def of(**failing: tuple[str, ...]) -> Readiness:
    readiness = Readiness()
    for service, words in failing.items():
        readiness.add(service, partial(tuple, words))
    readiness.begin()
    return readiness


def test_a_process_is_not_ready_before_it_has_started_and_after_it_was_told_to_stop() -> None:
    readiness = Readiness()
    assert readiness.failing() == ["starting"]
    readiness.begin()
    assert readiness.failing() == []
    readiness.end()
    assert readiness.failing() == ["stopping"]


def test_where_models_are_called_that_decides() -> None:
    assert of(auth=("database",), inference=(), gateway=()).failing() == []
    assert of(auth=(), inference=("journal",), gateway=()).failing() == ["journal"]
    assert of(gateway=("inference",)).failing() == ["inference"]


def test_a_control_plane_serves_while_any_part_of_it_does() -> None:
    assert of(auth=("database",), registry=()).failing() == []
    assert of(auth=("database",)).failing() == ["database"]
    assert of(auth=("database",), metering=("database",)).failing() == ["database", "database"]
