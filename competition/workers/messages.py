"""What workers say to their driver while they train, over one connection each.

It holds them together, too: when it breaks, the driver is gone, and the worker ends.
"""

import contextlib
import os
import queue
import threading
from collections.abc import Iterator
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any, Self

ASKS_WHETHER_HEARD, HEARD, END = "heard?", "heard", "end"


class Line:
    """The driver's end of the connections to its workers."""

    def __enter__(self) -> Self:
        self._key = os.urandom(16)
        self._listener = Listener(authkey=self._key)
        self._address = self._listener.address
        self._said: queue.SimpleQueue = queue.SimpleQueue()
        self._callers: list[Connection] = []
        self._closed = False
        self._readers: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._answer, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Close the connections and end their threads; the workers must have been ended before."""
        self._closed = True
        # A blocked accept() does not notice that its listener is closed, so it gets a last connection.
        with contextlib.suppress(OSError, EOFError, AuthenticationError):
            Client(self._address, authkey=self._key).close()
        self._acceptor.join()
        self._listener.close()
        for reader in self._readers:
            reader.join()
        for caller in self._callers:
            caller.close()

    @property
    def number(self) -> tuple[Any, bytes]:
        """What a worker needs to call."""
        return self._address, self._key

    def heard(self) -> Iterator[tuple]:
        """All that was said since the last time."""
        while not self._said.empty():
            yield self._said.get()

    def hang_up(self) -> None:
        """Tell the workers to end, whatever they do."""
        for caller in self._callers:
            with contextlib.suppress(OSError):
                caller.send(END)

    def _answer(self) -> None:
        while True:
            try:
                caller = self._listener.accept()
            except (OSError, EOFError, AuthenticationError):
                if self._closed:
                    return
                continue  # a caller that died while it called
            self._callers.append(caller)
            if self._closed:
                return
            reader = threading.Thread(target=self._listen, args=(caller,), daemon=True)
            self._readers.append(reader)
            reader.start()

    def _listen(self, caller: Connection) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                if (said := caller.recv()) == ASKS_WHETHER_HEARD:
                    caller.send(HEARD)
                else:
                    self._said.put(said)


_to_driver: Connection
_all_heard = threading.Event()


def call(address: Any, key: bytes) -> None:
    """In the worker, once: call the driver, and from then on end when it does."""
    global _to_driver
    _to_driver = Client(address, authkey=bytes(key))
    threading.Thread(target=_end_with_driver, daemon=True).start()


def _end_with_driver() -> None:
    """Anything but an answer means to end; where reading fails the driver is gone, and what it asked for with it."""
    with contextlib.suppress(EOFError, OSError):
        while _to_driver.recv() == HEARD:
            _all_heard.set()
    os._exit(1)


def say(*said: Any) -> None:
    """In the worker: tell the driver."""
    _to_driver.send(said)


def be_heard() -> None:
    """In the worker: wait until the driver has everything that was said, so that no result overtakes it."""
    _all_heard.clear()
    _to_driver.send(ASKS_WHETHER_HEARD)
    _all_heard.wait()
