"""The worker pool: what goes first, that nothing starves, what is tried again, and that closing leaves nothing."""

import threading
from concurrent.futures import CancelledError
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.values import RetryPolicy
from engine.errors import PoolFull, TetherFailed
from engine.execution.pool import WorkerPool
from engine.system import SystemClock
from tests.threads import together

AT_ONCE = RetryPolicy(max_attempts=3, backoff="immediate")
LATER = RetryPolicy(max_attempts=3, backoff="linear", base_delay_s=100.0, cap_s=1_000.0, jitter=0.0)


class HandClock(SystemClock):
    """A clock that the test sets; `asked` is set when a delay is being worked out."""

    def __init__(self):
        self.now_s = 1_000.0
        self.asked = Event()

    def monotonic(self):
        return self.now_s

    def noise(self):
        self.asked.set()
        return 0.0


class Gate:
    """A task that holds its worker until it is let go."""

    def __init__(self, pool):
        self.entered, self.open = Event(), Event()
        self.future = pool.submit(self.pass_through, priority=1_000)
        assert self.entered.wait(10)

    def pass_through(self):
        self.entered.set()
        assert self.open.wait(10)


@contextmanager
def a_pool(**options):
    pool = WorkerPool(**{"clock": HandClock(), "workers": 1, "name": "test"} | options)
    try:
        yield pool
    finally:
        pool.close()
        assert not threads_of("test")


def threads_of(name):
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"treadle-{name}-")]


def fails(error=ValueError("no")):  # noqa: B008 - which error it is doesn't matter
    raise error


# ---- order -----------------------------------------------------------------------------------------------------


def test_the_higher_priority_goes_first_and_equals_as_they_came() -> None:
    order = []
    with a_pool() as pool:
        gate = Gate(pool)
        for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5), ("e", -1)):
            pool.submit(lambda name=name: order.append(name), priority=priority)
        gate.open.set()
    assert order == ["b", "d", "a", "c", "e"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(-3, 5)), min_size=1, max_size=20))
def test_a_task_is_overtaken_only_by_what_came_soon_enough_after_it(arrivals) -> None:
    clock, aging_s, order, tasks = HandClock(), 8.0, [], []
    with a_pool(clock=clock, aging_s=aging_s) as pool:
        gate = Gate(pool)
        for number, (gap_s, priority) in enumerate(arrivals):
            clock.now_s += gap_s
            tasks.append((clock.now_s, priority))
            pool.submit(lambda number=number: order.append(number), priority=priority)
        gate.open.set()

    def urgency(number):
        came_s, priority = tasks[number]
        return priority + (clock.now_s - came_s) / aging_s

    assert order == sorted(range(len(tasks)), key=lambda number: (-urgency(number), number))
    for place, later in enumerate(order):
        for earlier in order[place + 1 :]:
            if earlier < later:
                (came_s, low), (then_s, high) = tasks[earlier], tasks[later]
                assert then_s - came_s < (high - low) * aging_s


def test_a_low_priority_has_its_turn_however_many_high_ones_keep_coming() -> None:
    clock, urgent, low = HandClock(), [], Event()
    with a_pool(clock=clock, aging_s=10.0) as pool:

        def another() -> None:
            clock.now_s += 1.0
            urgent.append(low.is_set())
            if not low.is_set() and len(urgent) < 1_000:
                pool.submit(another, priority=9)
                pool.submit(another, priority=9)

        gate = Gate(pool)
        pool.submit(low.set, priority=0)
        pool.submit(another, priority=9)
        gate.open.set()
        assert low.wait(10)
    overtaken = urgent.index(True) if True in urgent else len(urgent)
    assert 90 <= overtaken <= 2 * 90 + 2


# ---- bounds ----------------------------------------------------------------------------------------------------


def test_a_full_pool_refuses_at_once_and_has_room_again_when_a_task_is_cancelled() -> None:
    with a_pool(workers=2, queue_length=3) as pool:
        gates = [Gate(pool), Gate(pool)]
        waiting = [pool.submit(int) for _ in range(3)]
        with pytest.raises(
            PoolFull, match=r"^The pool test takes no task now: 3 tasks wait in it, which is the most\.$"
        ):
            pool.submit(int)
        assert waiting[1].cancel()
        pool.submit(int)
        with pytest.raises(PoolFull):
            pool.submit(int)
        figures = pool.figures()
        assert (figures.queued, figures.running, figures.cancelled, figures.refused) == (3, 2, 1, 2)
        for gate in gates:
            gate.open.set()
    assert (pool.figures().done, pool.figures().queued) == (5, 0)


def test_without_a_queue_there_is_room_for_as_many_as_work() -> None:
    with a_pool(workers=2, queue_length=0) as pool:
        one, two = Gate(pool), Gate(pool)
        with pytest.raises(PoolFull):
            pool.submit(int)
        one.open.set()
        two.open.set()


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"queue_length": -1}, {"aging_s": 0}])
def test_sizes_that_make_no_sense_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match="a pool has"):
        WorkerPool(clock=HandClock(), **wrong)


# ---- results and retries ---------------------------------------------------------------------------------------


def test_a_task_that_raises_has_its_error_in_the_future_and_kills_no_worker() -> None:
    with a_pool() as pool:
        errors = [ValueError("no"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()]
        futures = [pool.submit(lambda error=error: fails(error)) for error in errors]
        assert [future.exception(10) for future in futures] == errors
        assert pool.submit(lambda: 7).result(10) == 7
        assert (pool.figures().failed, pool.figures().done, len(threads_of("test"))) == (4, 1, 1)


@pytest.mark.parametrize(
    ("error", "attempts"),
    [(ValueError("no"), 3), (SystemExit(1), 1), (TetherFailed(kind="x", reason="y", permanent=True), 1)],
    ids=["an error", "no Exception", "permanent"],
)
def test_what_fails_is_tried_again_by_its_policy(error, attempts) -> None:
    made = []
    with a_pool() as pool:
        future = pool.submit(lambda: fails(made.append(1) or error), retry=AT_ONCE)
        assert future.exception(10) is error
    assert (len(made), pool.figures().retried, pool.figures().failed) == (attempts, attempts - 1, 1)


def test_a_later_attempt_waits_its_delay_and_others_go_on_meanwhile() -> None:
    clock, made = HandClock(), []

    def second_time() -> int:
        made.append(clock.now_s)
        return 7 if len(made) == 2 else fails()

    with a_pool(clock=clock) as pool:
        future = pool.submit(second_time, retry=LATER)
        assert clock.asked.wait(10)
        assert pool.figures().delayed == 1
        assert pool.submit(lambda: 8).result(10) == 8
        assert len(made) == 1
        clock.now_s += 100.0
        pool.wake()
        assert future.result(10) == 7
    assert made == [1_000.0, 1_100.0]


def test_an_attempt_that_is_due_has_a_thread_even_if_the_others_are_held_up() -> None:
    clock, made = HandClock(), []
    with a_pool(clock=clock, workers=2) as pool:
        future = pool.submit(lambda: made.append(1) if made else fails(made.append(0) or OSError()), retry=LATER)
        assert clock.asked.wait(10)
        gate = Gate(pool)
        clock.now_s += 100.0
        pool.wake()
        assert future.result(10) is None
        gate.open.set()
    assert made == [0, 1]


def test_a_task_can_be_cancelled_while_it_waits_and_not_while_it_runs() -> None:
    clock = HandClock()
    with a_pool(clock=clock, workers=2) as pool:
        failing = pool.submit(fails, retry=LATER)
        assert clock.asked.wait(10)
        gates = [Gate(pool), Gate(pool)]
        queued = pool.submit(int)
        assert (pool.cancel(failing), pool.cancel(queued), pool.cancel(gates[0].future)) == (True, True, False)
        assert (pool.cancel(failing), pool.figures().cancelled, pool.figures().delayed) == (False, 2, 0)
        for future in (failing, queued):
            with pytest.raises(CancelledError):
                future.result(10)
        for gate in gates:
            gate.open.set()


def test_a_task_that_waits_for_a_worker_to_be_tried_again_can_be_cancelled() -> None:
    clock, entered, leave = HandClock(), Event(), Event()
    with a_pool(clock=clock) as pool:
        failing = pool.submit(fails, retry=LATER)
        assert clock.asked.wait(10)
        gate = Gate(pool)
        pool.submit(lambda: entered.set() or leave.wait(10), priority=1_000)
        clock.now_s += 100.0
        gate.open.set()
        assert entered.wait(10)
        assert (pool.figures().queued, pool.figures().delayed) == (1, 0)
        assert pool.cancel(failing)
        assert pool.figures().queued == 0
        leave.set()
    assert isinstance(failing.exception(10), CancelledError)
    assert pool.figures().failed == 0


# ---- figures ---------------------------------------------------------------------------------------------------


def test_waits_runs_and_utilization_are_measured() -> None:
    clock = HandClock()

    def take(seconds: float) -> None:
        clock.now_s += seconds

    with a_pool(clock=clock) as pool:
        gate = Gate(pool)
        futures = [pool.submit(lambda seconds=seconds: take(seconds)) for seconds in (1.0, 2.0, 3.0)]
        clock.now_s += 4.0
        gate.open.set()
        wait_for(futures, 10)
        figures = pool.figures()
        assert (figures.mean_wait_s, figures.p95_wait_s) == ((0 + 4 + 5 + 7) / 4, 7.0)
        assert (figures.mean_run_s, figures.p95_run_s) == ((4 + 1 + 2 + 3) / 4, 4.0)
        assert figures.utilization == 1.0
        clock.now_s += 10.0
        assert pool.figures().utilization == 0.5
        clock.now_s += 45.0  # of the first second's 4 s of work 3 s are more than a minute ago, less the begun second
        assert pool.figures().utilization == pytest.approx(4 / 59)
        clock.now_s += 60.0
        assert pool.figures().utilization == 0.0
        gate = Gate(pool)
        clock.now_s += 1_000.0
        assert pool.figures().utilization == 1.0
        gate.open.set()


def test_what_is_kept_for_figures_does_not_grow() -> None:
    clock = HandClock()

    def take() -> None:
        clock.now_s += 0.75

    with a_pool(clock=clock, workers=1, queue_length=3_000) as pool:
        wait_for([pool.submit(take) for _ in range(3_000)], 10)
        assert pool.figures().utilization == 1.0
        clock.now_s += 30.0
        assert pool.figures().utilization == pytest.approx(0.5, abs=0.01)
        assert (len(pool._load._busy_s) <= 121, len(pool._waits), len(pool._runs)) == (True, 1_000, 1_000)


def test_a_clock_set_back_makes_no_negative_times() -> None:
    clock = HandClock()
    with a_pool(clock=clock) as pool:
        gate = Gate(pool)
        future = pool.submit(int)
        clock.now_s -= 500.0
        gate.open.set()
        future.result(10)
        figures = pool.figures()
    assert (figures.mean_wait_s, figures.mean_run_s, figures.utilization) == (0.0, 0.0, 0.0)


# ---- closing ---------------------------------------------------------------------------------------------------


def test_closing_finishes_everything_later_attempts_included() -> None:
    made = []
    pool = WorkerPool(clock=SystemClock(), workers=2, name="finish")
    gates = [Gate(pool), Gate(pool)]
    soon = RetryPolicy(max_attempts=3, backoff="linear", base_delay_s=0.001)
    failing = pool.submit(lambda: fails(made.append(1) or OSError()), retry=soon)
    others = [pool.submit(lambda: made.append(2)) for _ in range(20)]
    for gate in gates:
        gate.open.set()
    assert pool.close() == []
    assert (made.count(1), made.count(2), failing.done(), all(one.done() for one in others)) == (3, 20, True, True)
    assert not threads_of("finish")
    with pytest.raises(PoolFull, match="it is closed"):
        pool.submit(int)
    assert pool.close() == pool.close(finish=False) == []


def test_closing_without_finishing_hands_back_what_waits_and_what_failed_meanwhile() -> None:
    clock = HandClock()
    pool = WorkerPool(clock=clock, workers=1, name="hand-back")
    delayed = pool.submit(fails, priority=2, retry=LATER)
    assert clock.asked.wait(10)
    entered, leave = Event(), Event()

    def fails_at_the_end() -> None:
        entered.set()
        assert leave.wait(10)
        raise OSError

    running = pool.submit(fails_at_the_end, retry=LATER)
    assert entered.wait(10)
    queued = pool.submit(int, priority=5)
    gone = pool.submit(int)
    gone.cancel()
    queued.add_done_callback(lambda _: leave.set())
    left = pool.close(finish=False)
    found = {one.call: (one.priority, one.attempts, one.running) for one in left}
    assert found == {int: (5, 0, False), fails: (2, 1, False), fails_at_the_end: (0, 1, False)}
    assert len(left) == 3
    assert queued.cancelled()
    assert all(isinstance(future.exception(10), CancelledError) for future in (running, delayed))
    assert not threads_of("hand-back")


def test_closing_does_not_wait_for_ever_for_a_task_that_hangs() -> None:
    pool = WorkerPool(clock=HandClock(), workers=1, name="hangs")
    gate = Gate(pool)
    queued = pool.submit(int)
    left = pool.close(timeout_s=0.01)
    assert [(one.call == gate.pass_through, one.running) for one in left] == [(False, False), (True, True)]
    assert queued.cancelled()
    thread = threads_of("hangs")[0]
    gate.open.set()
    thread.join(10)
    assert gate.future.result(10) is None
    assert not threads_of("hangs")


def test_a_task_may_close_its_own_pool() -> None:
    pool = WorkerPool(clock=HandClock(), workers=1, name="own")
    gate = Gate(pool)
    closing, after = pool.submit(pool.close), pool.submit(lambda: 7)
    gate.open.set()
    assert (closing.result(10), after.result(10)) == ([], 7)
    assert pool.close() == []


def test_a_pool_that_never_had_a_task_has_no_thread() -> None:
    with a_pool() as pool:
        assert not threads_of("test")
        assert pool.figures().utilization == 0.0


def test_ten_thousand_tasks_from_four_threads_are_all_done_once() -> None:
    pool = WorkerPool(clock=SystemClock(), workers=4, queue_length=10_000, name="many")
    done, futures = [], []

    def submit() -> None:
        futures.extend(
            pool.submit(lambda number=number: done.append(number), priority=number % 7) for number in range(2_500)
        )

    together(*[submit] * 4)
    assert pool.close() == []
    figures = pool.figures()
    assert sorted(done) == sorted(list(range(2_500)) * 4)
    assert (figures.done, figures.queued, figures.running, figures.refused) == (10_000, 0, 0, 0)
    assert all(future.done() for future in futures)
    assert not threads_of("many")


def test_thousands_of_cancelled_tasks_leave_nothing_behind() -> None:
    with a_pool(queue_length=5_000) as pool:
        gate = Gate(pool)
        for future in [pool.submit(int) for _ in range(5_000)]:
            assert future.cancel()
        assert (pool.figures().queued, len(pool._queue)) == (0, 0)
        gate.open.set()
    assert (pool.figures().done, pool.figures().cancelled) == (1, 5_000)
