"""Whether a database answers. Once it does not, everything is refused at once, so that no queue builds up behind
a dead server, and one thread looks until it is back."""

import random
import threading
from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from headgate_database.errors import ConflictError, OutcomeUnknownError, StoreAwayError, StoreError
from headgate_database.faults import Fault, fault_of

log = structlog.get_logger()

T = TypeVar("T")

LOOK_AGAIN_S = 0.5


class Presence:
    """Knows whether the store `name` is there. `look` opens or probes it and raises StoreError, or an error of
    the driver, when it is not."""

    def __init__(self, name: str, look: Callable[[], None]) -> None:
        self.name = name
        self.present = True
        self.opened = True
        self._look = look
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def look(self) -> None:
        """The first look. A store that is there and cannot be used raises StoreError; one that is away is looked
        for from now on. Blocks."""
        try:
            self._look()
        except StoreAwayError as error:
            self.opened = False
            self.lost(error)

    def attempt(self, work: Callable[[], T]) -> T:
        """What `work` returned; it runs twice when its connection had died unnoticed.

        Raises StoreAwayError, OutcomeUnknownError, ConflictError, or what `work` raised for reasons of its own.
        """
        again = True
        while True:
            if not self.present:
                raise StoreAwayError
            try:
                return work()
            except OutcomeUnknownError as error:
                if error.__cause__ is not None and fault_of(error.__cause__) is Fault.AWAY:
                    self.lost(error)
                raise
            except StoreAwayError as error:
                self.lost(error)
                raise
            except SQLAlchemyError as error:
                fault = fault_of(error)
                if fault is Fault.OWN:
                    raise
                if not (fault is Fault.LOST and again):
                    raise self._refusal(fault, error) from error
                again = False

    def _refusal(self, fault: Fault, error: SQLAlchemyError) -> StoreAwayError:
        if fault in (Fault.LOST, Fault.AWAY):
            return self.lost(error)
        log.warning("database hinders a call", store=self.name, fault=fault.name, error=_line(error))
        return ConflictError() if fault is Fault.CONFLICT else StoreAwayError()

    def lost(self, error: Exception) -> StoreAwayError:
        """From now on the store is away; returns what to raise."""
        with self._lock:
            was_present, self.present = self.present, False
        if was_present and not self._ended.is_set():
            log.warning("database away", store=self.name, error=_line(error))
            threading.Thread(target=self._search, name=f"look-{self.name}", daemon=True).start()
        return StoreAwayError()

    def _search(self) -> None:
        said = ""
        while not self._ended.wait(LOOK_AGAIN_S * random.uniform(0.5, 1.5)):
            try:
                self._look()
            except (StoreError, SQLAlchemyError) as error:
                line = _line(error)
                if line != said:
                    log.warning("database not usable yet", store=self.name, error=line)
                said = line
            else:
                self.present = self.opened = True
                log.info("database there", store=self.name)
                return

    def end(self) -> None:
        """Looks no more."""
        self._ended.set()


def _line(error: BaseException) -> str:
    """What the driver said, in one line; SQLAlchemy's own text would show the statement with its values."""
    while error.__cause__ is not None and not getattr(error, "orig", None):
        error = error.__cause__
    return " ".join(str(getattr(error, "orig", None) or error).split())
