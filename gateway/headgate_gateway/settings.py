"""What an operator can set about the HTTP front."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from headgate_settings import Bytes, HostPort, Seconds, SettingsError, setting

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Limits hold for each connection or request; sizes in bytes, times in seconds."""

    http: HostPort = setting(
        env="HEADGATE_HTTP", default=HostPort("127.0.0.1", 8080), help="Address of the REST API."
    )
    trusted_proxies: tuple[str, ...] = setting(
        env="HEADGATE_TRUSTED_PROXIES",
        default=(),
        help="CIDRs of proxies whose `X-Forwarded-For` is believed, comma separated; none: it is ignored.",
    )
    accept_language: bool = setting(
        env="HEADGATE_ACCEPT_LANGUAGE",
        default=False,
        help="Answer errors in German or Spanish where `Accept-Language` asks for it.",
    )
    json_limit: Bytes = setting(env="HEADGATE_JSON_LIMIT", default=Bytes(4 * MIB), help="Largest JSON body.")
    chat_limit: Bytes = setting(
        env="HEADGATE_CHAT_LIMIT", default=Bytes(32 * MIB), help="Largest body of a chat request."
    )
    header_limit: Bytes = setting(
        env="HEADGATE_HEADER_LIMIT", default=Bytes(32 * 1024), help="Largest request line and headers."
    )
    header_fields: int = setting(env="HEADGATE_HEADER_FIELDS", default=100, help="Most header fields.")
    header_timeout: Seconds = setting(
        env="HEADGATE_HEADER_TIMEOUT", default=Seconds(10), help="Time for a request's headers to arrive."
    )
    body_timeout: Seconds = setting(
        env="HEADGATE_BODY_TIMEOUT", default=Seconds(15), help="Longest silence within a request body."
    )
    idle_timeout: Seconds = setting(
        env="HEADGATE_IDLE_TIMEOUT", default=Seconds(75), help="How long an unused connection is kept."
    )
    write_timeout: Seconds = setting(
        env="HEADGATE_WRITE_TIMEOUT",
        default=Seconds(60),
        help="Longest wait for a client that does not read.",
    )
    stream_keep_alive: Seconds = setting(
        env="HEADGATE_STREAM_KEEP_ALIVE",
        default=Seconds(15),
        help="Silence after which a stream says `keep-alive`.",
    )
    call_timeout: Seconds = setting(
        env="HEADGATE_CALL_TIMEOUT",
        default=Seconds(10),
        help="Time for keys, models and usage to be answered; model calls have their provider's timers.",
    )

    def __post_init__(self) -> None:
        problems = [
            f"HEADGATE_TRUSTED_PROXIES: {each!r} is not a CIDR"
            for each in self.trusted_proxies
            if not _network(each)
        ]
        if problems:
            raise SettingsError(problems)

    @property
    def proxy_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """`trusted_proxies`, parsed."""
        return tuple(net for each in self.trusted_proxies if (net := _network(each)))


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
