"""A string that does not show itself: in logs, tracebacks and messages it reads `***`."""

import hmac
from typing import NoReturn, final


@final
class Secret:
    """Holds a credential. Prints as `***`; `reveal` is the one way to read it.

    Deliberately no subclass of `str`: encoders and `+` would use the raw characters of one.
    """

    __slots__ = ("_value",)

    _value: str

    def __init__(self, value: str = "") -> None:
        object.__setattr__(self, "_value", value)

    def reveal(self) -> str:
        """The characters themselves; call it where they are used, not earlier."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        # Constant time, so that comparing does not tell how much of a guess was right.
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("A Secret does not change.")

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: object) -> "Secret":
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("A Secret is not pickled: the bytes would hold it in clear.")
