"""Counters are cheap to touch, bounded in number, and right in Prometheus text."""

from functools import partial

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headgate_telemetry.counters import CallCounters
from headgate_telemetry.exposition import Exposition
from headgate_telemetry.metrics import LabelBound, Metrics
from headgate_telemetry.record import AttemptRecord, CallRecord, EdgeRecord, TraceContext

TRACE = TraceContext("a" * 32, "b" * 16)
START = 1_795_252_320_000_000_000


def call(**fields):
    record = CallRecord(
        "headgate.inference.v1.InferenceService", "Generate", "POST /v1/chat/completions", "r", TRACE, START
    )
    record.ended_ns = START + 250_000_000
    for name, value in fields.items():
        setattr(record, name, value)
    return record


def samples(metrics):
    text = Exposition(metrics).render("")[0].decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_tally_a_histogram_and_a_gauge_are_exposed():
    metrics = Metrics()
    metrics.tally("things_total", "Things.", ("kind",)).add(('a\n"b',), 2)
    histogram = metrics.distribution("wait_seconds", "Waits.", ("who",), (0.1, 1))
    for value in (0.05, 0.1, 0.5, 7):
        histogram.observe(("me",), value)
    metrics.gauge("level", "Level.", lambda: 4.5)
    found = samples(metrics)
    assert found["things_total", ("kind", 'a\n"b')] == 2
    assert found["wait_seconds_bucket", ("le", "0.1"), ("who", "me")] == 2
    assert found["wait_seconds_bucket", ("le", "1.0"), ("who", "me")] == 3
    assert found["wait_seconds_bucket", ("le", "+Inf"), ("who", "me")] == 4
    assert found["wait_seconds_count", ("who", "me")] == 4
    assert found["wait_seconds_sum", ("who", "me")] == pytest.approx(7.65)
    assert found[("level",)] == 4.5


def test_gauges_and_counters_of_one_name_differ_by_fixed_labels():
    metrics = Metrics()
    ages = {"catalogue": 3.0, "routes": 4.0}
    for watch in ("catalogue", "routes"):
        metrics.gauge("watch_age_seconds", "Age.", partial(ages.__getitem__, watch), {"watch": watch})
    metrics.counter("waits_total", "Waits.", lambda: 7)
    metrics.counter("resyncs_total", "Resyncs.", lambda: 2, {"watch": "routes"})
    ages["routes"] = 0.5
    found = samples(metrics)
    assert found["watch_age_seconds", ("watch", "catalogue")] == 3
    assert found["watch_age_seconds", ("watch", "routes")] == 0.5
    assert found[("waits_total",)] == 7
    assert found["resyncs_total", ("watch", "routes")] == 2
    text = Exposition(metrics).render("")[0].decode()
    assert "# TYPE waits_total counter" in text
    assert "# TYPE watch_age_seconds gauge" in text


@pytest.mark.parametrize("labels", [{"watch": "routes"}, {"other": "label"}, {}])
def test_the_same_name_with_the_same_values_or_other_labels_is_refused(labels):
    metrics = Metrics()
    metrics.gauge("x", "X.", lambda: 0, {"watch": "routes"})
    with pytest.raises(ValueError, match="x exists already"):
        metrics.gauge("x", "X.", lambda: 0, labels)
    with pytest.raises(ValueError, match="x exists already"):
        metrics.counter("x", "X.", lambda: 0, {"watch": "new"})


def test_openmetrics_is_served_to_who_asks():
    text, content_type = Exposition(Metrics()).render("application/openmetrics-text; version=1.0.0")
    assert "openmetrics" in content_type
    assert text.endswith(b"# EOF\n")


def test_a_name_is_used_once():
    metrics = Metrics()
    metrics.tally("x_total", "X.")
    with pytest.raises(ValueError, match="x_total"):
        metrics.gauge("x_total", "X.", lambda: 0)


def test_series_beyond_the_limit_are_counted_together():
    tally = Metrics().tally("x_total", "X.", ("a", "b"), limit=3)
    for number in range(100):
        tally.add((str(number), "b"))
    assert len(tally.series()) == 4
    assert tally.value("other", "other") == 97


def test_a_bound_lets_known_values_through_for_ever():
    bound = LabelBound(2)
    assert [bound[value] for value in "abcab"] == ["a", "b", "other", "a", "b"]


def test_tokens_and_cost_are_counted_by_model_provider_and_account():
    metrics = Metrics()
    counters = CallCounters(metrics)
    for _ in range(3):
        counters.count_call(call(model="m", provider="p", account_id="acct", input_tokens=10, output_tokens=5,
                                 cost_nano_usd=2_000_000, first_token_ns=START + 40_000_000))  # fmt: skip
    found = samples(metrics)
    user = (("account", "acct"), ("model", "m"), ("provider", "p"))
    assert found["headgate_tokens_total", *user, ("type", "input")] == 30
    assert found["headgate_tokens_total", *user, ("type", "output")] == 15
    assert found["headgate_cost_usd_total", *user] == pytest.approx(0.006)
    assert found["headgate_first_token_seconds_count", *user[1:]] == 3


def test_requests_and_attempts_are_counted_by_how_they_ended():
    metrics = Metrics()
    counters = CallCounters(metrics)
    failed = AttemptRecord(1, "p", "m", "u", TRACE, START, START + 1, reason="UPSTREAM_TIMEOUT")
    counters.count_call(call(attempts=[failed, AttemptRecord(2, "q", "m", "u", TRACE, START)]))
    counters.count_call(call(reason="RATE_LIMIT_EXCEEDED"))
    found = samples(metrics)
    method = (("method", "Generate"),)
    service = (("service", "headgate.inference.v1.InferenceService"),)
    assert found["headgate_requests_total", *method, ("reason", "OK"), *service, ("status_class", "2xx")] == 1
    assert (
        found[
            "headgate_requests_total",
            *method,
            ("reason", "RATE_LIMIT_EXCEEDED"),
            *service,
            ("status_class", "4xx"),
        ]
        == 1
    )
    assert (
        found["headgate_attempts_total", ("model", "m"), ("outcome", "UPSTREAM_TIMEOUT"), ("provider", "p")]
        == 1
    )
    assert found["headgate_attempts_total", ("model", "m"), ("outcome", "OK"), ("provider", "q")] == 1


def test_accounts_beyond_the_bound_share_one_label():
    metrics = Metrics()
    counters = CallCounters(metrics, account_limit=1000)
    for number in range(1500):
        counters.count_call(call(model="m", provider="p", account_id=f"acct{number}", input_tokens=1))
    found = {key: value for key, value in samples(metrics).items() if key[0] == "headgate_cost_usd_total"}
    assert len(found) == 1001
    assert (
        samples(metrics)[
            "headgate_tokens_total",
            ("account", "other"),
            ("model", "m"),
            ("provider", "p"),
            ("type", "input"),
        ]
        == 500
    )


def test_a_key_shows_how_much_of_its_limit_is_used():
    metrics = Metrics()
    counters = CallCounters(metrics)
    counters.count_call(call(key_prefix="sk-hg-a", request_limit="60", requests_left="45"))
    counters.count_call(
        call(key_prefix="sk-hg-a", request_limit="60", requests_left="0", reason="RATE_LIMIT_EXCEEDED")
    )
    counters.count_call(call(key_prefix="sk-hg-b", reason="MODEL_NOT_FOUND"))
    counters.count_call(call(key_prefix="sk-hg-c", request_limit="60", requests_left="15"))
    counters.count_call(call(reason="AUTHENTICATION_FAILED"))
    found = samples(metrics)
    assert {key[1:]: value for key, value in found.items() if key[0] == "headgate_key_requests_total"} == {
        (("key", "sk-hg-a"), ("result", "admitted")): 1,
        (("key", "sk-hg-a"), ("result", "refused")): 1,
        (("key", "sk-hg-b"), ("result", "admitted")): 1,
        (("key", "sk-hg-c"), ("result", "admitted")): 1,
    }
    assert {
        key[1:]: value for key, value in found.items() if key[0] == "headgate_key_requests_left_ratio"
    } == {
        (("key", "sk-hg-a"),): 0,
        (("key", "sk-hg-c"),): 0.25,
    }


def test_no_label_grows_with_what_callers_send():
    metrics = Metrics()
    counters = CallCounters(metrics)
    for number in range(3000):
        name = f"n{number}"
        tried = AttemptRecord(1, name, name, name, TRACE, START)
        counters.count_call(call(model=name, requested_model=name, provider=name, account_id=name, key_prefix=name,
                                 request_limit="9", requests_left="1", input_tokens=1, first_token_ns=START + 1,
                                 request_id=name, call_id=name, message=name, attempts=[tried]))  # fmt: skip
    values: dict[str, set[str]] = {}
    for _, *labels in samples(metrics):
        for label, value in labels:
            values.setdefault(label, set()).add(value)
    grown = {label: seen for label, seen in values.items() if len(seen) > 50}
    assert {label: len(seen) for label, seen in grown.items()} == {
        "account": 1001, "key": 1001, "model": 1001, "provider": 201,
    }  # fmt: skip
    assert all("other" in seen for seen in grown.values())
    assert ("headgate_key_requests_left_ratio", ("key", "other")) not in samples(metrics)


def test_methods_and_routes_of_strangers_do_not_grow_the_metrics():
    metrics = Metrics()
    counters = CallCounters(metrics)
    for number in range(100):
        counters.count_edge(EdgeRecord(f"HACK{number}", "", "r", TRACE, START, START + 1, 404))
    assert (
        samples(metrics)[
            "headgate_http_requests_total", ("method", "_OTHER"), ("route", "unmatched"), ("status", "404")
        ]
        == 100
    )
