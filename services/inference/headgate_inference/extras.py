"""Fields our types do not know, as raw JSON: kept byte for byte, so that numbers keep their form."""

from collections.abc import Collection, Mapping

import msgspec

from headgate_rpc.errors import HeadgateError, Reason

Fields = dict[str, msgspec.Raw]

_DECODER = msgspec.json.Decoder(Fields)
encode = msgspec.json.Encoder().encode


def decode(data: bytes) -> Fields:
    """The members of a JSON object. Raises ValueError when it is not one."""
    try:
        return _DECODER.decode(data)
    except RecursionError:
        raise ValueError("nested too deep") from None


def pack(fields: Fields) -> bytes:
    """The JSON object of these members, on one line. Raises ValueError for what is not UTF-8, which the decoder
    does not look for in raw members."""
    data = encode(fields)
    if b"\n" in data or b"\r" in data:
        data = msgspec.json.format(data, indent=-1)
    if not data.isascii():
        data.decode()
    return data


def spread(extra_json: bytes, known: Collection[str], path: str) -> Mapping[str, msgspec.Raw]:
    """The members of a request's `extra_json` at `path`. Raises HeadgateError INVALID_REQUEST when it is no JSON
    object, or names a field that has a typed place: two values for one field would let a caller be checked
    for the one and served the other."""
    if not extra_json:
        return {}
    try:
        extra_json.decode()
        fields = decode(extra_json)
    except ValueError:
        raise HeadgateError(
            Reason.INVALID_REQUEST, f"'{path}' must hold a JSON object.", field=path
        ) from None
    for name in fields:
        if name in known:
            message = f"'{name}' must not stand in '{path}'; it has a field of its own."
            raise HeadgateError(Reason.INVALID_REQUEST, message, field=path)
    return fields


def json_value(data: bytes, path: str) -> msgspec.Raw:
    """A caller's JSON to be passed on as it is. Raises HeadgateError INVALID_REQUEST when it is no JSON."""
    try:
        data.decode()
        msgspec.json.decode(data, type=msgspec.Raw)
    except (ValueError, RecursionError):
        raise HeadgateError(Reason.INVALID_REQUEST, f"'{path}' must hold JSON.", field=path) from None
    return msgspec.Raw(data)
