"""A proxy in front of a server, that loses what it is told to lose: real sockets, real broken connections."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Event, Thread


class Proxy:
    """Passes bytes on between 127.0.0.1:`port` and a server until it sees a word from the client."""

    def __init__(self, server_port):
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._word = None
        self._is_passed_on = False
        self._is_last = False
        self.lost = Event()
        self._threads = [Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def lose(self, word, *, answer_only, and_all_after=False):
        """Cut the next connection whose client says `word`: before the server hears it, or before its answer."""
        self.lost.clear()
        self._is_passed_on, self._is_last, self._word = answer_only, and_all_after, word

    def close(self):
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.lost.is_set() and self._is_last:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._server_port))
                cut = Event()
                for work in (self._to_server, self._to_client):
                    thread = Thread(target=work, args=(client, server, cut), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _to_server(self, client, server, cut):
        with suppress(OSError):
            while data := client.recv(65_536):
                if self._word is not None and self._word in data:
                    self._word = None
                    cut.set()
                    if self._is_passed_on:
                        server.sendall(data)
                        continue  # the answer cuts the connection
                    break
                server.sendall(data)
        self._end(client, server, cut)

    def _to_client(self, client, server, cut):
        with suppress(OSError):
            while data := server.recv(65_536):
                if cut.is_set():
                    break
                client.sendall(data)
        self._end(client, server, cut)

    def _end(self, client, server, cut):
        if cut.is_set():
            self.lost.set()
        for each in (client, server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
