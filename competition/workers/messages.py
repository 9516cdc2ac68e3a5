"""Messages from workers to their driver while tasks run, over one connection per worker.

The connection also ties their lives together: when it breaks, the driver is gone, and the worker exits.
"""

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Iterator
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from secrets import token_hex
from typing import Any, Self

PING, PONG, STOP = "ping", "pong", "stop"


class Channel:
    """The driver's end of the connections to its workers."""

    def __enter__(self) -> Self:
        self._key = os.urandom(16)
        # Linux has sockets without a file, which would be left behind if the driver was killed.
        address = f"\0foldblend-{token_hex(16)}" if sys.platform == "linux" else None
        self._listener = Listener(address, authkey=self._key)
        self._address = self._listener.address
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._connections: list[Connection] = []
        self._closed = False
        self._readers: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Close the connections and end their threads; the workers must have ended before."""
        self._closed = True
        # A blocked accept() does not notice that its listener is closed, so it gets a last connection.
        with contextlib.suppress(OSError, EOFError, AuthenticationError):
            Client(self._address, authkey=self._key).close()
        self._acceptor.join()
        self._listener.close()
        for reader in self._readers:
            reader.join()
        for connection in self._connections:
            connection.close()

    @property
    def address(self) -> tuple[Any, bytes]:
        """The arguments of `connect`."""
        return self._address, self._key

    def receive(self) -> Iterator[tuple[Any, Any]]:
        """Yield the (task, payload) messages that arrived since the last call."""
        while not self._messages.empty():
            yield self._messages.get()

    def stop_workers(self) -> None:
        """Tell the workers to exit at once."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.send(STOP)

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except (OSError, EOFError, AuthenticationError):
                if self._closed:
                    return
                continue  # a worker that died while it connected
            self._connections.append(connection)
            if self._closed:
                return
            reader = threading.Thread(target=self._read, args=(connection,), daemon=True)
            self._readers.append(reader)
            reader.start()

    def _read(self, connection: Connection) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                if (message := connection.recv()) == PING:
                    connection.send(PONG)
                else:
                    self._messages.put(message)


_to_driver: Connection
_flushed = threading.Event()


def connect(address: Any, key: bytes) -> None:
    """Connect a worker to its driver, once; from then on the worker exits when the driver does."""
    global _to_driver
    _to_driver = Client(address, authkey=bytes(key))
    threading.Thread(target=_exit_with_driver, daemon=True).start()


def _exit_with_driver() -> None:
    """Exit on anything but a pong; when reading fails, the driver is gone."""
    with contextlib.suppress(EOFError, OSError):
        while _to_driver.recv() == PONG:
            _flushed.set()
    os._exit(1)


def send(task: Any, payload: Any) -> None:
    """Send a message from the worker to the driver."""
    _to_driver.send((task, payload))


def flush() -> None:
    """Wait until the driver has received all messages of this worker, so that no result overtakes them."""
    _flushed.clear()
    _to_driver.send(PING)
    _flushed.wait()
