"""What this process knows of one candidate: calls outstanding, and whether it keeps failing."""

_FAILURES = 5
_FIRST_EJECTION_S = 30.0
_LONGEST_EJECTION_S = 300.0


class Health:
    """Load and failures of one candidate. After 5 failures in a row it is ejected for 30 s; if its first call
    after that fails too, for twice as long, up to 5 minutes; a success forgets all of it."""

    __slots__ = ("_ejection_s", "_failures", "ejected_until", "outstanding")

    def __init__(self) -> None:
        self.outstanding = 0
        self.ejected_until = 0.0
        self._failures = 0
        self._ejection_s = _FIRST_EJECTION_S

    def succeeded(self) -> None:
        """A call went well."""
        self._failures = 0
        self._ejection_s = _FIRST_EJECTION_S
        self.ejected_until = 0.0

    def failed(self, now: float) -> bool:
        """A call failed at `now` (monotonic seconds); True when that ejects the candidate."""
        self._failures += 1
        # Calls that began before the ejection say nothing new about it.
        if self._failures < _FAILURES or now < self.ejected_until:
            return False
        self.ejected_until = now + self._ejection_s
        self._ejection_s = min(self._ejection_s * 2, _LONGEST_EJECTION_S)
        return True
