"""One service in a child process: `headgate serve` with its address, its end, and its word that it can serve."""

import asyncio
import signal
import sys
from collections.abc import Mapping


class Child:
    """Started, and after its end started again. Its log lines go where this process's own go."""

    def __init__(self, service: str, variables: Mapping[str, str]) -> None:
        self.service = service
        self._variables = variables
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self.ready = asyncio.Event()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it; does not wait for it to be ready."""
        self.ready.clear()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "headgate_suite", "serve", "--supervised", self.service,
            env=self._variables,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            # A Ctrl-C in the terminal is for the parent, which ends its children in order.
            start_new_session=True,
        )  # fmt: skip
        self._listening = asyncio.create_task(self._listen(self._process))

    async def ended(self) -> int:
        """Return its exit status when it has ended; below 0 is the signal that ended it."""
        if self._process is None or self._listening is None:
            raise RuntimeError(f"{self.service} was never started")
        # Not awaited itself: whoever stops waiting here must not end the listening.
        await asyncio.wait([self._listening])
        return await self._process.wait()

    async def stop(self, patience_s: float) -> None:
        """End it gently, by SIGKILL when it takes longer than `patience_s`."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(patience_s):
                await self.ended()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self.ended()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None and self.alive:
            self._process.send_signal(number)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is not None:
            async for line in process.stdout:
                if not line.strip():
                    self.ready.set()
