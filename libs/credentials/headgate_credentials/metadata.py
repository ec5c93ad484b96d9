"""Where a caller puts its credential: `authorization` or `x-api-key` (AUTH-2 to AUTH-6)."""

from collections.abc import Mapping

from headgate_rpc.errors import HeadgateError, Reason

_SCHEMES = ("bearer", "token")


def from_metadata(metadata: Mapping[str, str]) -> str | None:
    """The credential as sent, without its scheme word; None when there is none. Keys are lower case.

    Raises INVALID_CREDENTIALS for an `authorization` of another form, for two credentials that differ, and
    for JSON Web Tokens.
    """
    key = metadata.get("x-api-key")
    if key is not None:
        key = key.strip() or None
    authorization = metadata.get("authorization")
    if authorization is not None:
        bearer = _without_scheme(authorization)
        if key is not None and key != bearer:
            raise _invalid("The 'authorization' and 'x-api-key' credentials differ.")
        key = bearer
    if key is not None and key.count(".") == 2:
        raise _invalid("JSON Web Tokens are not accepted by this installation; send an API key.")
    return key


def _without_scheme(authorization: str) -> str:
    scheme, _, credential = authorization.strip().partition(" ")
    credential = credential.strip()
    if scheme.lower() not in _SCHEMES or not credential or " " in credential:
        raise _invalid("'authorization' must read 'Bearer <key>' or 'Token <key>'.")
    return credential


def _invalid(message: str) -> HeadgateError:
    return HeadgateError(Reason.INVALID_CREDENTIALS, message)
