"""What both ends of a gRPC connection agree on: how a dead peer is noticed, how often to try again, how large a
message may be."""

import json
from dataclasses import dataclass

from headgate_rpc.channel import Options
from headgate_settings import Secret

Arguments = list[tuple[str, int | str]]

MAX_REPLY_BYTES = 64 * 1024 * 1024
_NEVER_MS = 2**31 - 1

# Longer than any call to a model lasts: three attempts with the default total of 10 minutes each.
INFERENCE_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """How a client treats its peers; all times in seconds.

    A peer that answers no ping (black-holed, stopped) is given up after at most `keepalive_s` +
    `keepalive_timeout_s`, and a connection that does not come about after `connect_s`; then calls to it fail at
    once instead of waiting. Between attempts to connect the pause grows from `first_backoff_s` to `most_backoff_s`,
    with gRPC's jitter of 20 %. `unary_timeout_s` is the deadline of a call that was given none.

    `resend` is for calls from the gateway to inference only (decisions.md 16).
    """

    unary_timeout_s: float = 10.0
    resend: bool = False
    keepalive_s: float = 1.0
    keepalive_timeout_s: float = 2.0
    connect_s: float = 2.0
    first_backoff_s: float = 0.1
    most_backoff_s: float = 2.0


CHANNEL_OPTIONS = ChannelOptions()
INFERENCE_OPTIONS = ChannelOptions(unary_timeout_s=INFERENCE_TIMEOUT_S, resend=True)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Limits of a gRPC server; sizes in bytes, other times in milliseconds.

    A connection older than `max_connection_age_ms` (gRPC adds ±10 %) gets no new calls and is left once its calls
    have ended: clients then resolve their target again and find replicas that came later; 0 is never.
    `min_ping_interval_ms` is what clients' keepalive may do; half of ChannelOptions.keepalive_s, since clocks are not
    exact. A gateway holds the streams of all its clients on one connection to each inference; beyond
    `max_streams_per_connection` a call would wait until another ends. `drain_wait_s` is the time between saying
    NOT_SERVING and refusing calls; it is not waited for when no client follows the health.
    """

    max_request_bytes: int = 32 * 1024 * 1024
    max_reply_bytes: int = MAX_REPLY_BYTES
    max_metadata_bytes: int = 16 * 1024
    max_streams_per_connection: int = 10_000
    max_connection_age_ms: int = 600_000
    min_ping_interval_ms: int = 500
    keepalive_ms: int = 20_000
    keepalive_timeout_ms: int = 10_000
    drain_wait_s: float = 1.0
    reflection: bool = True
    suite_secret: Secret | None = None


def wire_metadata(options: Options, suite_secret: Secret | None) -> tuple[tuple[str, str], ...]:
    """The metadata of a call; with the suite's secret the callee takes the caller for a part of the suite."""
    metadata = tuple(options.wire_metadata().items())
    return (*metadata, ("x-headgate-suite", suite_secret.reveal())) if suite_secret else metadata


def client_arguments(options: ChannelOptions) -> Arguments:
    """The arguments of a channel, of either API."""
    return [
        ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
        ("grpc.max_send_message_length", MAX_REPLY_BYTES),
        ("grpc.service_config", _SERVICE_CONFIG),
        # A name server has no say in how the suite's own calls are made.
        ("grpc.service_config_disable_resolution", 1),
        # Without our re-send, gRPC may repeat what provably no server has seen; with it, that is one layer already.
        ("grpc.enable_retries", 0 if options.resend else 1),
        ("grpc.keepalive_time_ms", _ms(options.keepalive_s)),
        ("grpc.keepalive_timeout_ms", _ms(options.keepalive_timeout_s)),
        # Without this one a ping that is not answered is waited for 60 s, whatever the keepalive says.
        ("grpc.http2.ping_timeout_ms", _ms(options.keepalive_timeout_s)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", _ms(options.first_backoff_s)),
        ("grpc.max_reconnect_backoff_ms", _ms(options.most_backoff_s)),
        # Despite its name this is how long one attempt to connect may take.
        ("grpc.min_reconnect_backoff_ms", _ms(options.connect_s)),
        # A quiet channel stays connected: its next call must not wait for a handshake.
        ("grpc.client_idle_timeout_ms", _NEVER_MS),
    ]


def server_arguments(options: ServerOptions) -> Arguments:
    """The arguments of a server."""
    arguments: Arguments = [
        ("grpc.max_receive_message_length", options.max_request_bytes),
        ("grpc.max_send_message_length", options.max_reply_bytes),
        ("grpc.max_metadata_size", options.max_metadata_bytes),
        ("grpc.max_concurrent_streams", options.max_streams_per_connection),
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", options.min_ping_interval_ms),
        ("grpc.http2.max_pings_without_data", 0),
        # A client that is gone without a word holds its streams no longer than this.
        ("grpc.keepalive_time_ms", options.keepalive_ms),
        ("grpc.keepalive_timeout_ms", options.keepalive_timeout_ms),
        ("grpc.http2.ping_timeout_ms", options.keepalive_timeout_ms),
    ]
    if options.max_connection_age_ms:
        arguments.append(("grpc.max_connection_age_ms", options.max_connection_age_ms))
    return arguments


# Every address of a target takes its share, and none that says NOT_SERVING of itself.
_SERVICE_CONFIG = json.dumps(
    {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
)


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
