"""Processes that do what they are told to a shared store, quickly forked from a server that has imported everything."""

import atexit
import multiprocessing
import os
from threading import Thread

import duckdb

from engine.domain.writes import InsertBatch, InsertModel, PutSetting, Record, UpdateModel
from engine.storage.blobs import FileBlobs
from engine.storage.journal_sqlite import SqliteJournal
from engine.storage.shared.catalog import open_shared
from tests.contract.samples import batch, draft, model

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__, "engine.storage.shared.server"])
_opened = {}
_pipes = []


class Agent:
    """A process with stores of its own. What it is asked, it does one after the other."""

    def __init__(self):
        self._pipe, theirs = _context.Pipe()
        self._process = _context.Process(target=_live, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self.pid = self._process.pid

    def ask(self, work, *arguments):
        """Return what `work`, a function of this module, gives in the other process; raise what it raises."""
        self.tell(work, *arguments)
        return self.answer()

    def tell(self, work, *arguments):
        self._pipe.send((work, arguments))

    def answer(self):
        assert self._pipe.poll(60), "it says nothing"
        is_good, value = self._pipe.recv()
        if not is_good:
            raise value
        return value

    def answers(self):
        """Give what it sent until now, and until it ended."""
        try:
            while True:
                yield self.answer()
        except EOFError:
            return

    def kill(self):
        """Kill it, and return what it had still sent."""
        self._process.kill()
        self._process.join()
        return list(self.answers())

    def close(self):
        """Let it close its stores and end."""
        if self._process.is_alive():
            self._pipe.send(None)
        self._process.join(20)
        self._pipe.close()


def _live(pipe):
    _pipes.append(pipe)
    while (asked := pipe.recv()) is not None:
        work, arguments = asked
        try:
            answer = (True, work(*arguments))
        except Exception as error:
            answer = (False, AssertionError(f"{type(error).__name__}: {error}"))
        pipe.send(answer)
    for opened in _opened.values():
        opened.close()


def open_(path):
    """Open the store; return the process that owns it."""
    _opened[path] = open_shared(path)
    return _opened[path].describe()["owner_pid"]


def close(path):
    _opened.pop(path).close()


def owner(path):
    return _opened[path].describe()["owner_pid"]


def insert(path, number):
    return _opened[path].commit(InsertModel(model=model(number)), Record(draft=draft(number)))


def names(path):
    return sorted(row.name for row in _opened[path].models())


def head(path):
    return _opened[path].head().sequence


def news(path, after, timeout_s):
    return [entry.sequence for entry in _opened[path].news(after, timeout_s)]


def put(path, key, value):
    _opened[path].commit(PutSetting(key=key, value=value))


def settings(path):
    return _opened[path].settings()


def hold_raw(path):
    """Have the file open as another program does, one that serves nobody."""
    _opened[path] = duckdb.connect(str(path))
    return os.getpid()


def close_raw(path):
    _opened.pop(path).close()


def fork(path):
    """Use the store in a fork of this process, close it there and end as a program ends; return what it saw."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        catalog = _opened[path]
        facts = catalog.describe()
        os.write(writing, f"{facts['owner_pid']} {facts['models']}".encode())
        catalog.close()
        atexit._run_exitfuncs()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        return told.read()


def journal_append(path, record):
    journal = _opened.setdefault(f"{path}.journal", None) or SqliteJournal(f"{path}.journal")
    _opened[f"{path}.journal"] = journal
    journal.sync(journal.append(record))
    return journal.claim(record.run)


def blob_put(path, data):
    return FileBlobs(f"{path}.blobs").put(data)


def commit_on(path, name):
    """Commit one edit after the other, and send each revision once it is acknowledged."""
    catalog = _opened[path]
    Thread(target=_commit_on, args=(catalog, name), daemon=True).start()


def _commit_on(catalog, name):
    key = f"m-{name}"
    catalog.commit(InsertModel(model=model(name=f"Model {name}").changed(id=key)))
    revision = 0
    while True:
        old = catalog.model(key)
        revision += 1
        catalog.commit(
            UpdateModel(
                model=old.changed(revision=revision, description=str(revision)), expected_revision=revision - 1
            ),
            InsertBatch(batch=batch(revision, of=key), revision=revision),
            Record(draft=draft(revision, entity=key, request=f"{name}-{revision}")),
        )
        _pipes[0].send((True, revision))
