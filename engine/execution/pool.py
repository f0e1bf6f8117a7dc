"""A pool of worker threads: bounded, by priority, with retries and figures, closed with or without finishing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from functools import partial
from heapq import heapify, heappop, heappush
from math import ceil, floor
from threading import Condition, Thread, current_thread
from typing import Any, TypeAlias, TypeVar

from engine.domain.values import RetryPolicy
from engine.errors import PoolFull, TreadleError
from engine.ports import Clock

_T = TypeVar("_T")
_WINDOW_S = 60
_SAMPLES = 1_000
_ONCE = RetryPolicy()


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """How a pool is doing. Times in seconds, of the last 1,000 tasks begun (waits) and attempts ended (runs)."""

    workers: int
    queued: int
    """Tasks that wait for a worker."""
    delayed: int
    """Tasks that failed and wait for their next attempt."""
    running: int
    done: int
    failed: int
    """Tasks whose last attempt failed."""
    retried: int
    cancelled: int
    refused: int
    mean_wait_s: float
    p95_wait_s: float
    mean_run_s: float
    p95_run_s: float
    utilization: float
    """Share of the workers' time of the last minute (or since the pool was made) that was spent on tasks, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A task that a closed pool hands back: nobody has its result."""

    call: Callable[[], object]
    priority: int
    retry: RetryPolicy
    attempts: int
    """Attempts that were begun."""
    running: bool
    """Its last attempt had not ended when `close` gave up waiting: it may still end, unseen."""


@dataclass(slots=True, eq=False)
class _Task:
    call: Callable[[], object]
    priority: int
    retry: RetryPolicy
    future: Future[Any]
    queued_s: float
    number: int
    attempts: int = 0
    queued: bool = True
    """False once it was taken from the queue, or cancelled and only left there."""
    began_s: float = 0.0

    def unfinished(self, *, running: bool = False) -> Unfinished:
        return Unfinished(self.call, self.priority, self.retry, self.attempts, running)


_Entry: TypeAlias = tuple[float, int, _Task]


class WorkerPool:
    """Daemon threads that work through tasks, the most urgent first. Safe to use from any thread.

    A task's urgency is its priority, and one more for each `aging_s` that it has waited. So of equal priority the
    first is first, and one of priority p is overtaken by one of priority q only if that came less than
    (q - p) * aging_s after it: nothing waits for ever. At most `workers + queue_length` tasks are taken in.
    """

    def __init__(
        self, *, clock: Clock, workers: int = 4, queue_length: int = 1_000, aging_s: float = 10.0, name: str = "pool"
    ) -> None:
        """Start no thread yet. ValueError for sizes that make no sense."""
        if workers < 1 or queue_length < 0 or not aging_s > 0:
            raise ValueError("a pool has 1 worker or more, a queue of 0 or more, and ages in more than 0 s")
        self.name = name
        self._clock, self._workers, self._queue_length, self._aging_s = clock, workers, queue_length, aging_s
        self._news = Condition()
        self._queue: list[_Entry] = []
        """A heap by when a task would be as urgent as one of priority 0 that comes then."""
        self._delayed: list[_Entry] = []
        """A heap by when the next attempt is due."""
        self._numbers = 0
        self._withdrawn = 0
        """Tasks in the queue that were cancelled."""
        self._running: dict[_Task, Thread] = {}
        self._left: list[Unfinished] = []
        self._threads: set[Thread] = set()
        self._idle = 0
        self._closed = self._discarding = False
        self._latest_s = clock.monotonic()
        self._done = self._failed = self._retried = self._cancelled = self._refused = 0
        self._waits: deque[float] = deque(maxlen=_SAMPLES)
        self._runs: deque[float] = deque(maxlen=_SAMPLES)
        self._load = _Load(self._latest_s, workers)

    def submit(self, call: Callable[[], _T], *, priority: int = 0, retry: RetryPolicy = _ONCE) -> Future[_T]:
        """Take a task in and return the future of its result; `PoolFull` at once if there is no room, or it is closed.

        A higher priority goes first. Whatever `call` raises is tried again by `retry`, unless it is marked permanent
        or no `Exception`. The future can be cancelled until its first attempt begins, and with `cancel` also later,
        between two attempts.
        """
        future: Future[_T] = Future()
        with self._news:
            waiting = len(self._queue) - self._withdrawn
            full = waiting + len(self._running) >= self._workers + self._queue_length
            if self._closed or full:
                self._refused += 1
                reason = "it is closed" if self._closed else f"{waiting} tasks wait in it, which is the most"
                raise PoolFull(pool=self.name, reason=reason)
            self._numbers += 1
            task = _Task(call, priority, retry, future, self._now_s(), self._numbers)
            self._put(task)
            self._news.notify()
            self._staff(waiting + 1)
        future.add_done_callback(partial(self._if_cancelled, task))
        return future

    def cancel(self, future: Future[Any]) -> bool:
        """Cancel a task that waits, for its first attempt or for another one; False if it runs, or has ended."""
        if future.cancel():
            return True
        with self._news:
            later = [task for _, _, task in (*self._delayed, *self._queue) if task.future is future and task.queued]
            for task in later:
                self._withdraw(task)
        for task in later:
            task.future.set_exception(CancelledError())
        return bool(later)

    def wake(self) -> None:
        """Look at the clock again: for clocks that a test or a replay sets forward."""
        with self._news:
            self._news.notify_all()

    def figures(self) -> PoolFigures:
        """Return how it is doing."""
        with self._news:
            now_s = self._now_s()
            waits, runs = sorted(self._waits), sorted(self._runs)
            return PoolFigures(
                workers=self._workers,
                queued=len(self._queue) - self._withdrawn,
                delayed=len(self._delayed),
                running=len(self._running),
                done=self._done,
                failed=self._failed,
                retried=self._retried,
                cancelled=self._cancelled,
                refused=self._refused,
                mean_wait_s=_mean(waits),
                p95_wait_s=_p95(waits),
                mean_run_s=_mean(runs),
                p95_run_s=_p95(runs),
                utilization=self._load.share(now_s, (task.began_s for task in self._running)),
            )

    def close(self, *, finish: bool = True, timeout_s: float | None = None) -> list[Unfinished]:
        """Take nothing more in, let the threads end, and return the tasks that were not finished.

        Args:
            finish: work through everything that was taken in, later attempts included. Otherwise only the calls
                under way are waited for; the rest is handed back, its futures cancelled.
            timeout_s: how long to wait for each thread; then what is left is handed back as well. None: as long as
                it takes.

        Calling it again is harmless. Called by a task of this pool it doesn't wait for that task's own thread.
        """
        with self._news:
            self._closed = True
            self._news.notify_all()
            threads = list(self._threads)
        left = [] if finish else self._discard()
        for thread in threads:
            if thread is not current_thread():
                thread.join(timeout_s)
        return left if finish and timeout_s is None else left + self._discard(running=True)

    def _discard(self, *, running: bool = False) -> list[Unfinished]:
        """Take out every task that waits, and cancel its future; `running`: list those under way as well."""
        with self._news:
            self._discarding = True
            waiting = [task for _, _, task in (*sorted(self._queue), *sorted(self._delayed)) if task.queued]
            waiting = [task for task in waiting if not task.future.cancelled()]
            for task in waiting:
                task.queued = False
            self._queue.clear()
            self._delayed.clear()
            self._withdrawn = 0
            left, self._left = self._left, []
            others = [task for task, thread in self._running.items() if thread is not current_thread()]
            self._news.notify_all()
        for task in waiting:
            if not task.future.cancel():
                task.future.set_exception(CancelledError())
        left += [task.unfinished() for task in waiting]
        return left + [task.unfinished(running=True) for task in others if running]

    # ---- with the lock held -----------------------------------------------------------------------------------

    def _now_s(self) -> float:
        self._latest_s = max(self._latest_s, self._clock.monotonic())
        return self._latest_s

    def _put(self, task: _Task) -> None:
        heappush(self._queue, (task.queued_s - task.priority * self._aging_s, task.number, task))

    def _staff(self, wanted: int) -> None:
        """Start a thread if fewer than `wanted` are idle and there may be one more."""
        if self._idle < wanted and len(self._threads) < self._workers:
            thread = Thread(target=self._work, daemon=True, name=f"treadle-{self.name}-{len(self._threads) + 1}")
            self._threads.add(thread)
            thread.start()

    def _withdraw(self, task: _Task) -> None:
        """Let a waiting task be passed over; the queue is cleared of such tasks once they are the most."""
        task.queued = False
        self._cancelled += 1
        delayed = [entry for entry in self._delayed if entry[2].queued]
        if len(delayed) < len(self._delayed):
            heapify(delayed)
            self._delayed = delayed
            self._news.notify_all()
            return
        self._withdrawn += 1
        if self._withdrawn * 2 > len(self._queue):
            self._queue = [entry for entry in self._queue if entry[2].queued]
            heapify(self._queue)
            self._withdrawn = 0

    def _next(self, now_s: float) -> _Task | None:
        """Take the most urgent task out of the queue, those included whose next attempt is due."""
        while self._delayed and self._delayed[0][0] <= now_s:
            self._put(heappop(self._delayed)[2])
            self._news.notify_all()
        while self._queue:
            task = heappop(self._queue)[2]
            if not task.queued:
                self._withdrawn -= 1
                continue
            task.queued = False
            if task.attempts or task.future.set_running_or_notify_cancel():
                return task
            self._cancelled += 1
        return None

    # ---- on the workers' threads ------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            task = self._take()
            if task is None:
                return
            self._run(task)
            del task

    def _take(self) -> _Task | None:
        """Wait for a task and begin it; None: this thread is to end."""
        with self._news:
            while True:
                now_s = self._now_s()
                task = self._next(now_s)
                if task is not None:
                    break
                if self._closed and not self._delayed:
                    self._threads.discard(current_thread())
                    return None
                self._idle += 1
                self._news.wait(self._delayed[0][0] - now_s if self._delayed else None)
                self._idle -= 1
            if not task.attempts:
                self._waits.append(now_s - task.queued_s)
            task.attempts += 1
            task.began_s = now_s
            self._running[task] = current_thread()
            if self._delayed:
                self._staff(1)
            return task

    def _run(self, task: _Task) -> None:
        result: object = None
        error: BaseException | None = None
        try:
            result = task.call()
        except BaseException as caught:  # noqa: BLE001 - what a task raises is its result, and never a worker's end
            error = caught
        try:
            if not self._is_over(task, error):
                return
            if error is None:
                task.future.set_result(result)
            else:
                task.future.set_exception(error)
        finally:
            del error  # its traceback holds this frame

    def _is_over(self, task: _Task, error: BaseException | None) -> bool:
        """Count an attempt that ended; False if another one follows, here or by who gets it back."""
        with self._news:
            now_s = self._now_s()
            del self._running[task]
            self._runs.append(now_s - task.began_s)
            self._load.add(task.began_s, now_s)
            if error is None:
                self._done += 1
                return True
            if not _may_help(error) or task.attempts >= task.retry.attempts():
                self._failed += 1
                return True
            if not self._discarding:
                self._retried += 1
                task.queued = True
                delay_s = task.retry.delay_s(task.attempts, noise=self._clock.noise())
                heappush(self._delayed, (now_s + delay_s, task.number, task))
                self._news.notify_all()
                return False
            self._left.append(task.unfinished())
        task.future.set_exception(CancelledError())
        return False

    def _if_cancelled(self, task: _Task, future: Future[Any]) -> None:
        """Make room when the future of a task that waits was cancelled."""
        if future.cancelled():
            with self._news:
                if task.queued:
                    self._withdraw(task)


class _Load:
    """Busy time by the second, for the last minute."""

    def __init__(self, since_s: float, workers: int) -> None:
        self._since_s, self._workers = since_s, workers
        self._busy_s: dict[int, float] = {}

    def add(self, began_s: float, ended_s: float) -> None:
        last = floor(ended_s)
        for second in range(max(floor(began_s), last - _WINDOW_S + 1), last + 1):
            share_s = min(ended_s, second + 1) - max(began_s, second)
            self._busy_s[second] = self._busy_s.get(second, 0.0) + share_s
        if len(self._busy_s) > 2 * _WINDOW_S:
            self._busy_s = {second: busy_s for second, busy_s in self._busy_s.items() if second > last - _WINDOW_S}

    def share(self, now_s: float, running: Iterable[float]) -> float:
        """Return the busy share until now; `running`: when the tasks under way began."""
        begin_s = max(self._since_s, floor(now_s) - _WINDOW_S + 1)
        whole_s = self._workers * (now_s - begin_s)
        busy_s = sum(busy_s for second, busy_s in self._busy_s.items() if second + 1 > begin_s)
        busy_s += sum(now_s - max(began_s, begin_s) for began_s in running)
        return min(1.0, busy_s / whole_s) if whole_s > 0 else 0.0


def _may_help(error: BaseException) -> bool:
    """Say whether another attempt may help."""
    return isinstance(error, Exception) and not (isinstance(error, TreadleError) and error.facts.get("permanent"))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _p95(ordered: list[float]) -> float:
    return ordered[ceil(0.95 * len(ordered)) - 1] if ordered else 0.0
