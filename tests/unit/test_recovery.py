"""Recovery: what fails is stood in for and tried again by policy, and a check that hangs costs one thread."""

import threading
from threading import Event

import pytest

from engine.domain.values import RetryPolicy
from engine.execution.recovery import Component, Recovery, RecoveryPolicy
from engine.system import SystemClock
from tests.threads import together

THREE = RetryPolicy(max_attempts=3, backoff="linear", base_delay_s=10.0, cap_s=1_000.0, jitter=0.5)
POLICY = RecoveryPolicy(attempts=THREE, timeout_s=10.0)
KEEP_TRYING = RecoveryPolicy(attempts=THREE, afterwards="keep_trying", timeout_s=10.0)


class HandClock(SystemClock):
    """A clock that the test sets."""

    def __init__(self):
        self.now_s = 1_000.0

    def monotonic(self):
        return self.now_s

    def noise(self):
        return 0.0


class Machine:
    """A component whose health the test decides; it says what was asked of it."""

    def __init__(self, policy=POLICY, *, fallback=None, restarts=False, name="machine"):
        self.clock, self.events, self.calls, self.well = HandClock(), [], [], True
        self.recovery = Recovery(self.clock, changed=self.events.append)
        component = Component(name, self.check, self.restart if restarts else None, fallback, policy)
        self.recovery.register(component)

    def check(self):
        self.calls.append("check")
        return self.well

    def restart(self):
        self.calls.append("restart")

    def drive(self, until_s):
        """Do what a driver would do until a time, and return when it made attempts."""
        made = []
        while (due_s := self.recovery.next_s()) is not None and due_s <= until_s:
            self.clock.now_s = due_s
            for name in self.recovery.due(due_s):
                made.append(due_s)
                self.recovery.attempt(name)
        self.clock.now_s = until_s
        return made

    @property
    def health(self):
        return self.recovery.health()["machine"]

    @property
    def steps(self):
        return [(event.before, event.after) for event in self.events]


def test_what_is_well_stays_healthy_and_nothing_is_told() -> None:
    machine = Machine()
    assert machine.recovery.check("machine").condition == "healthy"
    machine.recovery.attempt("machine")
    assert (machine.calls, machine.events, machine.recovery.next_s()) == (["check"], [], None)


@pytest.mark.parametrize("seen_by", ["check", "report"])
def test_what_fails_is_tried_after_each_delay_and_disabled_when_that_is_no_use(seen_by) -> None:
    machine = Machine()
    machine.well = False
    if seen_by == "check":
        machine.recovery.check("machine")
    else:
        machine.recovery.report("machine", ValueError("it is down"))
    assert machine.health.last_error == ("it is down" if seen_by == "report" else "it says that it is not well")
    assert (machine.health.condition, machine.health.next_attempt_s) == ("recovering", 1_010.0)
    assert machine.recovery.due(1_009.9) == []
    assert machine.drive(9_000.0) == [1_010.0, 1_030.0, 1_060.0]
    assert (machine.health.condition, machine.health.attempts, machine.recovery.next_s()) == ("disabled", 3, None)
    assert machine.steps == [
        ("healthy", "recovering"),
        ("recovering", "recovering"),
        ("recovering", "recovering"),
        ("recovering", "disabled"),
    ]
    assert machine.recovery.records("machine") == tuple(machine.events)


def test_what_is_to_be_kept_being_tried_has_the_last_delay_again_and_again() -> None:
    machine = Machine(KEEP_TRYING)
    machine.well = False
    machine.recovery.report("machine", "down")
    assert machine.drive(1_150.0) == [1_010.0, 1_030.0, 1_060.0, 1_090.0, 1_120.0, 1_150.0]
    assert (machine.health.condition, machine.health.attempts) == ("failed", 6)
    machine.well = True
    machine.drive(1_180.0)
    assert (machine.health.condition, machine.health.attempts, machine.recovery.next_s()) == ("healthy", 0, None)
    machine.well = False
    machine.recovery.report("machine", "down again")
    assert machine.health.next_attempt_s == 1_190.0
    machine.drive(20_000.0)
    assert len(machine.recovery.records("machine")) == 100 < len(machine.events)


def test_an_attempt_restarts_first_and_checks_then() -> None:
    machine = Machine(restarts=True)
    machine.recovery.report("machine", "down")
    assert machine.recovery.attempt("machine").condition == "healthy"
    assert machine.calls == ["restart", "check"]


def test_a_second_report_changes_the_error_and_no_plan() -> None:
    machine = Machine()
    machine.recovery.report("machine", "first")
    machine.clock.now_s += 5.0
    machine.recovery.report("machine", "second")
    assert (machine.health.last_error, machine.health.next_attempt_s, len(machine.events)) == ("second", 1_010.0, 1)


def test_a_good_check_ends_a_recovery() -> None:
    machine = Machine()
    machine.recovery.report("machine", "down")
    assert machine.recovery.check("machine").condition == "healthy"
    assert machine.recovery.next_s() is None


def test_a_disabled_one_is_left_alone_until_it_is_enabled() -> None:
    machine = Machine()
    machine.recovery.disable("machine", "not today")
    machine.recovery.disable("machine")
    machine.recovery.report("machine", "down")
    assert machine.recovery.attempt("machine").condition == "disabled"
    assert machine.recovery.check("machine").condition == "disabled"
    machine.recovery.enable("machine")
    machine.recovery.enable("machine")
    assert machine.recovery.due(1_000.0) == ["machine"]
    assert machine.drive(1_000.0) == [1_000.0]
    assert machine.steps == [("healthy", "disabled"), ("disabled", "recovering"), ("recovering", "healthy")]


# ---- fallbacks -------------------------------------------------------------------------------------------------


def test_a_fallback_stands_in_until_the_component_is_back() -> None:
    switched = []
    machine = Machine(fallback=switched.append)
    machine.well = False
    machine.recovery.report("machine", "down")
    assert (machine.health.condition, machine.health.stood_in_for, switched) == ("degraded", True, [True])
    machine.drive(1_030.0)
    assert (machine.health.condition, machine.health.next_attempt_s) == ("degraded", 1_060.0)
    machine.well = True
    machine.drive(1_060.0)
    assert (machine.health.condition, machine.health.stood_in_for, switched) == ("healthy", False, [True, False])
    assert machine.events[-1].reason == "its fallback stood down"


def test_a_fallback_goes_on_for_one_that_is_disabled() -> None:
    machine = Machine(fallback=lambda _: None)
    machine.well = False
    machine.recovery.report("machine", "down")
    machine.drive(5_000.0)
    assert (machine.health.condition, machine.health.stood_in_for) == ("disabled", True)
    machine.recovery.enable("machine")
    assert machine.health.condition == "degraded"


def test_a_fallback_that_fails_is_not_asked_again_before_the_component_was_well() -> None:
    asked = []

    def broken(on: bool) -> None:
        asked.append(on)
        raise OSError("none left")

    machine = Machine(fallback=broken)
    machine.well = False
    machine.recovery.report("machine", "down")
    machine.drive(1_030.0)
    assert (machine.health.condition, machine.health.stood_in_for, asked) == ("recovering", False, [True])
    assert machine.events[1].reason == "its fallback: OSError: none left"
    machine.well = True
    machine.drive(1_060.0)
    machine.recovery.report("machine", "down")
    assert (machine.health.condition, asked) == ("recovering", [True, True])


def test_a_component_that_is_back_while_its_fallback_is_called_is_not_left_with_it() -> None:
    entered, leave, switched = Event(), Event(), []

    def slow(on: bool) -> None:
        switched.append(on)
        entered.set()
        assert leave.wait(10)

    machine = Machine(fallback=slow)
    reporting = threading.Thread(target=lambda: machine.recovery.report("machine", "down"))
    reporting.start()
    assert entered.wait(10)
    assert machine.recovery.attempt("machine").condition == "healthy"
    leave.set()
    reporting.join()
    assert (switched, machine.health.stood_in_for, machine.health.condition) == ([True, False], False, "healthy")


def test_who_changes_something_while_a_fallback_is_called_does_not_wait_for_it() -> None:
    entered, leave, switched = Event(), Event(), []

    def slow(on: bool) -> None:
        switched.append(on)
        entered.set()
        assert leave.wait(10)

    machine = Machine(fallback=slow)
    reporting = threading.Thread(target=lambda: machine.recovery.report("machine", "down"))
    reporting.start()
    assert entered.wait(10)
    machine.recovery.disable("machine")
    assert not machine.health.stood_in_for
    leave.set()
    reporting.join()
    assert (switched, machine.health.stood_in_for) == ([True], True)
    assert machine.steps == [("healthy", "recovering"), ("recovering", "disabled"), ("disabled", "disabled")]


# ---- calls that hang or raise ----------------------------------------------------------------------------------


def test_a_check_that_hangs_is_given_up_and_costs_one_thread_however_often_it_is_tried() -> None:
    release, threads = Event(), []

    def hang() -> None:
        threads.append(threading.current_thread())
        release.wait(30)

    machine = Machine()
    policy = RecoveryPolicy(attempts=THREE, afterwards="keep_trying", timeout_s=0.01)
    machine.recovery.register(Component("machine", hang, policy=policy))
    before = threading.active_count()
    assert machine.recovery.check("machine").last_error == "it did not end within 0.01 s"
    assert len(machine.drive(2_000.0)) > 30
    assert machine.health.last_error == "it hangs: the call before has not ended"
    assert (len(threads), threading.active_count()) == (1, before + 1)
    release.set()
    threads[0].join(10)
    assert machine.recovery.attempt("machine").condition == "healthy"
    for thread in threads:
        thread.join(10)
    assert threading.active_count() == before


def test_a_restart_may_free_a_check_that_hangs() -> None:
    freed = Event()
    machine = Machine()
    policy = RecoveryPolicy(attempts=THREE, afterwards="keep_trying", timeout_s=0.05)
    machine.recovery.register(Component("machine", lambda: freed.wait(30), freed.set, policy=policy))
    assert machine.recovery.check("machine").condition == "recovering"
    # the check that hung may need a moment to end
    assert any(machine.recovery.attempt("machine").condition == "healthy" for _ in range(100_000))


def test_those_who_check_at_the_same_time_share_one_call() -> None:
    entered, leave, calls, found = Event(), Event(), [], []

    def check() -> bool:
        calls.append(1)
        entered.set()
        return leave.wait(10)

    machine = Machine()
    machine.recovery.register(Component("machine", check, policy=POLICY))
    first = threading.Thread(target=lambda: found.append(machine.recovery.check("machine")))
    first.start()
    assert entered.wait(10)
    threading.Timer(0.0, leave.set).start()
    found.append(machine.recovery.check("machine"))
    first.join()
    assert [health.condition for health in found] == ["healthy", "healthy"]
    assert 1 <= len(calls) <= 2


def test_one_attempt_is_made_at_a_time() -> None:
    entered, leave = Event(), Event()

    def restart() -> None:
        entered.set()
        assert leave.wait(10)

    machine = Machine()
    machine.recovery.register(Component("machine", lambda: True, restart, policy=POLICY))
    machine.recovery.report("machine", "down")
    trying = threading.Thread(target=machine.recovery.attempt, args=("machine",))
    trying.start()
    assert entered.wait(10)
    assert machine.recovery.due(9_999.0) == []
    assert machine.recovery.attempt("machine").condition == "recovering"
    leave.set()
    trying.join()
    assert (machine.health.condition, machine.health.attempts) == ("healthy", 0)


@pytest.mark.parametrize(
    ("error", "said"), [(ValueError("no"), "ValueError: no"), (SystemExit(), "SystemExit"), (KeyError(), "KeyError")]
)
def test_whatever_a_check_raises_is_its_failure(error, said) -> None:
    def check() -> None:
        raise error

    machine = Machine()
    machine.recovery.register(Component("machine", check))
    assert machine.recovery.check("machine").last_error == said


# ---- the registry ----------------------------------------------------------------------------------------------


def test_several_are_due_in_the_order_of_their_times_and_who_is_unknown_is_a_key_error() -> None:
    machine = Machine(name="b")
    for name, base_s in (("a", 30.0), ("c", 20.0)):
        attempts = RetryPolicy(max_attempts=2, base_delay_s=base_s, jitter=0.0)
        machine.recovery.register(Component(name, machine.check, policy=RecoveryPolicy(attempts=attempts)))
    for name in "abc":
        machine.recovery.report(name, "down")
    assert machine.recovery.due(1_020.0) == ["b", "c"]
    assert machine.recovery.due(1_030.0) == ["b", "c", "a"]
    assert list(machine.recovery.health()) == ["a", "b", "c"]
    machine.recovery.unregister("b")
    machine.recovery.unregister("b")
    assert machine.recovery.next_s() == 1_020.0
    for ask in (machine.recovery.check, machine.recovery.attempt, machine.recovery.records, machine.recovery.enable):
        with pytest.raises(KeyError):
            ask("b")


def test_many_threads_begin_one_recovery() -> None:
    machine = Machine(fallback=lambda _: None)

    def report() -> None:
        for _ in range(100):
            machine.recovery.report("machine", "down")

    together(*[report] * 4)
    assert machine.steps == [("healthy", "recovering"), ("recovering", "degraded")]
