"""Breakers: what opens and closes them, whose results count, and that a clock set back misleads none."""

import asyncio
import itertools
import sys
import time
from concurrent import futures
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine.errors import (
    CodeFailed,
    ExpressionFailed,
    JournalBroken,
    NotSerializable,
    PortMissing,
    StepCancelled,
    StepTimedOut,
    StoreUnreachable,
    TargetRefused,
    TargetUnavailable,
    TetherFailed,
    TreadleError,
)
from engine.execution.breaker import Breaker, BreakerPolicy, Breakers
from engine.execution.targets import counts_against, target_of
from engine.system import SystemClock
from tests.threads import together

POLICY = BreakerPolicy(failure_threshold=3, success_threshold=2, open_s=10.0, probe_limit_s=40.0)


class HandClock(SystemClock):
    """A clock that the test sets."""

    def __init__(self):
        self.now_s = 100.0

    def monotonic(self):
        return self.now_s


hows = st.sampled_from(["failed", "succeeded", "abandoned"])


class Breaking(RuleBasedStateMachine):
    """One breaker against what is written here of the results in its present state.

    `time_s` is the true time; the breaker sees it less `back_s`, by which its clock was set back so far, and calls
    may hand in readings that are up to a second old.
    """

    @initialize(fails=st.integers(1, 3), probes=st.integers(1, 3), window_s=st.none() | st.just(6.0))
    def begin(self, fails, probes, window_s):
        self.policy = replace(POLICY, failure_threshold=fails, success_threshold=probes, window_s=window_s)
        self.time_s, self.back_s = 100.0, 0.0
        self.events = []
        self.breaker = Breaker("host", self.policy, now_s=self.time_s, changed=self.events.append)
        self.calls = []
        self.turn("closed")
        self.told, self.opened, self.refused, self.late = [], 0, 0, 0

    def turn(self, state):
        """From here on the state is this one, and nothing has happened in it."""
        self.state, self.since_s, self.results, self.valid, self.probe_s = state, self.time_s, [], [], None

    def changes(self, state):
        self.told.append((self.state, state))
        self.opened += state == "open"
        self.turn(state)

    def reading(self, old_s=0.0):
        return self.time_s - self.back_s - old_s

    @rule(wait_s=st.sampled_from([0.25, 1.0, 6.0, 9.75, 10.0, 40.0]))
    def wait(self, wait_s):
        self.time_s += wait_s

    @rule(back_s=st.sampled_from([1.25, 5.0, 10.0, 1_000.0, 1e9]))
    def set_the_clock_back(self, back_s):
        self.back_s += back_s
        if self.policy.window_s is not None and self.state == "closed":
            self.results = []

    @rule(old_s=st.sampled_from([0.0, 0.25, 1.0]))
    def begin_a_call(self, old_s):
        self.ask(old_s)

    def ask(self, old_s):
        admission = self.breaker.admit(self.reading(old_s))
        if self.state == "open" and self.time_s >= self.since_s + self.policy.open_s:
            self.changes("half_open")
        probing = self.probe_s is not None and self.time_s < self.probe_s + self.policy.probe_limit_s
        if self.state == "open" or probing:
            self.refused += 1
            assert admission is None
            return
        assert admission is not None
        assert admission.probe == (self.state == "half_open")
        if admission.probe:
            self.valid, self.probe_s = [], self.time_s
        self.valid.append(admission)
        self.calls.append(admission)

    @rule(how=hows)
    def ask_and_end(self, how):
        before = len(self.calls)
        self.ask(0.0)
        if len(self.calls) > before:
            self.take(self.calls.pop(), how, 0.0)

    @precondition(lambda self: self.calls)
    @rule(number=st.integers(0, 9), how=hows, old_s=st.sampled_from([0.0, 1.0]))
    def end(self, number, how, old_s):
        self.take(self.calls.pop(number % len(self.calls)), how, old_s)

    def take(self, admission, how, old_s):
        getattr(self.breaker, how)(admission, self.reading(old_s))
        if admission not in self.valid:
            self.late += 1
            return
        if self.state == "half_open":
            self.valid, self.probe_s = [], None
        if how != "abandoned":
            self.results.append((how == "succeeded", self.time_s))
        self.settle()

    def settle(self):
        """Take the state that the results in the present one ask for."""
        good = [ok for ok, _ in self.results]
        if self.state == "half_open":
            if False in good:
                self.changes("open")
            elif len(good) == self.policy.success_threshold:
                self.changes("closed")
        elif self.policy.window_s is None:
            if good[-self.policy.failure_threshold :] == [False] * self.policy.failure_threshold:
                self.changes("open")
        elif self.fails_in_window() >= self.policy.failure_threshold:
            self.changes("open")

    def fails_in_window(self):
        return sum(not ok and self.time_s - at_s <= self.policy.window_s for ok, at_s in self.results)

    @invariant()
    def it_stands_as_written(self):
        if not hasattr(self, "breaker"):
            return
        figures = self.breaker.figures(self.reading())
        assert (figures.state, figures.opened, figures.refused) == (self.state, self.opened, self.refused)
        assert figures.late == self.late
        assert [(event.before, event.after) for event in self.events] == self.told
        assert [event.generation for event in self.events] == sorted({event.generation for event in self.events})
        if self.state == "open":
            assert figures.retry_in_s == max(0.0, self.since_s + self.policy.open_s - self.time_s)
        else:
            assert figures.retry_in_s == (None if self.state == "closed" else 0.0)
        if self.state == "closed" and self.policy.window_s is not None:
            assert figures.failures == min(self.fails_in_window(), self.policy.failure_threshold)
        if self.state == "half_open":
            assert figures.probes == len(self.results)


class TestBreaking(Breaking.TestCase):
    settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


def opened(policy=POLICY, *, now_s=0.0, changed=None):
    breaker = Breaker("host", policy, now_s=now_s, changed=changed)
    for _ in range(policy.failure_threshold):
        breaker.failed(breaker.admit(now_s), now_s, error="HTTP 503: no.")
    return breaker


def test_a_target_that_flaps_stays_in_use_unless_a_window_counts() -> None:
    plain = Breaker("host", POLICY, now_s=0.0)
    counting = Breaker("host", replace(POLICY, window_s=60.0), now_s=0.0)
    for now_s in range(4):
        for breaker in (plain, counting):
            breaker.failed(breaker.admit(now_s), now_s)
            again = breaker.admit(now_s)
            if again is not None:
                breaker.succeeded(again, now_s)
        if counting.figures(now_s).state == "open":
            break
    assert (now_s, plain.figures(now_s).state) == (2, "closed")


def test_a_target_that_fails_each_probe_is_called_once_in_each_open_time() -> None:
    breaker, calls = opened(), 0
    for now_s in range(100):
        admission = breaker.admit(now_s)
        if admission is not None:
            calls += 1
            breaker.failed(admission, now_s)
    figures = breaker.figures(99)
    assert (calls, figures.opened, figures.refused, figures.last_error) == (9, 10, 91, "HTTP 503: no.")


def test_one_probe_goes_and_the_others_wait_for_what_it_says() -> None:
    events = []
    breaker = opened(changed=events.append)
    assert breaker.admit(9.9) is None
    probe = breaker.admit(10.0)
    assert probe.probe
    assert breaker.admit(20.0) is None
    breaker.succeeded(probe, 20.0)
    breaker.succeeded(breaker.admit(20.0), 20.5)
    assert not breaker.admit(20.5).probe
    assert [(event.before, event.after, event.at_s) for event in events] == [
        ("closed", "open", 0.0),
        ("open", "half_open", 10.0),
        ("half_open", "closed", 20.5),
    ]


def test_results_of_an_older_generation_are_ignored() -> None:
    breaker = Breaker("host", POLICY, now_s=0.0)
    early = [breaker.admit(0.0) for _ in range(6)]
    for admission in early[:3]:
        breaker.failed(admission, 1.0)
    probe = breaker.admit(11.0)
    breaker.failed(early[3], 11.0)
    breaker.succeeded(early[4], 11.0)
    breaker.abandoned(early[5], 11.0)
    assert breaker.figures(11.0).state == "half_open"
    assert breaker.admit(11.0) is None
    breaker.succeeded(probe, 11.0)
    breaker.succeeded(probe, 11.0)
    figures = breaker.figures(11.0)
    assert (figures.state, figures.probes, figures.late) == ("half_open", 1, 4)


def test_a_probe_that_was_cancelled_lets_another_one_go_and_can_say_nothing_any_more() -> None:
    breaker = opened()
    first = breaker.admit(10.0)
    breaker.abandoned(first, 11.0)
    second = breaker.admit(11.0)
    assert second.probe
    breaker.failed(first, 11.0)
    assert breaker.figures(11.0).state == "half_open"
    breaker.failed(second, 11.0)
    assert breaker.figures(11.0).state == "open"


def test_a_probe_that_hangs_is_given_up_and_can_say_nothing_any_more() -> None:
    breaker = opened()
    hanging = breaker.admit(10.0)
    assert breaker.admit(49.0) is None
    assert breaker.admit(50.0).probe
    breaker.failed(hanging, 50.0)
    assert (breaker.figures(50.0).state, breaker.figures(50.0).late) == ("half_open", 1)


def test_a_clock_set_back_neither_opens_nor_admits_early_nor_blocks() -> None:
    breaker = opened(now_s=1_000.0)
    assert breaker.admit(5.0) is None
    assert breaker.admit(14.9) is None
    assert breaker.figures(14.9).since_s == pytest.approx(5.0)
    assert breaker.admit(15.0) is not None
    slow = Breaker("host", replace(POLICY, window_s=5.0), now_s=0.0)
    for now_s in (1_000.0, 990.0, 980.0, 970.0):
        slow.failed(slow.admit(now_s), now_s)
    assert slow.figures(970.0).state == "closed"


def test_the_readings_of_several_threads_may_come_out_of_order() -> None:
    breaker = opened(now_s=100.0)
    for second in range(9):
        assert breaker.admit(101.0 + second) is None
        assert breaker.admit(100.2 + second) is None
    assert breaker.admit(109.99) is None
    assert breaker.admit(110.0) is not None


@pytest.mark.parametrize(
    "wrong",
    [{"failure_threshold": 0}, {"success_threshold": 0}, {"open_s": -1.0}, {"open_s": float("nan")}, {"window_s": 0.0}],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match="of a breaker"):
        BreakerPolicy(**wrong)


# ---- the registry ----------------------------------------------------------------------------------------------


def test_each_target_has_its_own_breaker_and_policy() -> None:
    clock, events = HandClock(), []
    breakers = Breakers(
        clock, default=POLICY, policies={"b": replace(POLICY, failure_threshold=1)}, changed=events.append
    )
    for target in ("b", "a"):
        breakers.settle(breakers.admit(target), TetherFailed(kind="Connection", reason="it is down."))
    assert {target: how.state for target, how in breakers.figures().items()} == {"a": "closed", "b": "open"}
    clock.now_s += 2.5
    with pytest.raises(TargetUnavailable) as raised:
        breakers.admit("b")
    assert str(raised.value) == (
        "b failed too often and is not called for now: Connection: it is down. The next try is in 7.5 s."
    )
    assert raised.value.facts["retry_in_s"] == 7.5
    clock.now_s += 7.5
    assert breakers.admit("b").probe
    with pytest.raises(TargetUnavailable, match=r"The next try is under way\.$"):
        breakers.admit("b")
    assert [(event.target, event.after) for event in events] == [("b", "open"), ("b", "half_open")]


def test_a_target_that_answers_is_well_and_a_cancelled_call_says_nothing() -> None:
    clock = HandClock()
    breakers = Breakers(clock, default=replace(POLICY, failure_threshold=1, success_threshold=1))
    breakers.settle(breakers.admit("a"), StepCancelled())
    breakers.settle(breakers.admit("a"), NotSerializable(kind="a socket", port="x"))
    assert (breakers.figures()["a"].state, breakers.figures()["a"].abandoned) == ("closed", 2)
    breakers.settle(breakers.admit("a"), StepTimedOut(timeout_s="1"))
    clock.now_s += 10
    breakers.settle(breakers.admit("a"), StepCancelled())
    assert breakers.figures()["a"].state == "half_open"
    breakers.settle(breakers.admit("a"), TetherFailed(kind="HTTP 404", reason="no", permanent=True))
    assert breakers.figures()["a"].state == "closed"


def test_many_threads_get_one_probe_and_no_result_is_lost() -> None:
    clock = HandClock()
    breakers = Breakers(clock, default=replace(POLICY, failure_threshold=4_000, success_threshold=1))

    def fail() -> None:
        for _ in range(1_000):
            breakers.settle(breakers.admit("a"), OSError("down"))

    together(*[fail] * 4)
    assert (breakers.figures()["a"].state, breakers.figures()["a"].failed) == ("open", 4_000)
    clock.now_s += 10
    admitted = []

    def probe() -> None:
        for _ in range(200):
            try:
                admitted.append(breakers.admit("a"))
            except TargetUnavailable:
                continue

    together(*[probe] * 4)
    assert len(admitted) == 1
    breakers.settle(admitted[0])

    def succeed() -> None:
        for _ in range(1_000):
            breakers.settle(breakers.admit("a"))

    together(*[succeed] * 4)
    assert (breakers.figures()["a"].state, breakers.figures()["a"].succeeded) == ("closed", 4_001)


def test_targets_without_a_failure_are_forgotten_when_there_are_too_many() -> None:
    breakers = Breakers(HandClock())
    breakers.settle(breakers.admit("broken"), OSError("down"))
    late = breakers.admit("0")
    for number in range(10_100):
        breakers.settle(breakers.admit(str(number)))
    breakers.settle(late)
    assert len(breakers.figures()) < 200
    assert breakers.figures()["broken"].failures == 1


@pytest.mark.skipif(sys.gettrace() is not None, reason="coverage counts every line, and takes its time for it")
def test_an_idle_breaker_costs_less_than_a_microsecond_a_call() -> None:
    breakers, rounds = Breakers(SystemClock()), 20_000

    def took_us() -> float:
        began = time.perf_counter()
        for _ in itertools.repeat(None, rounds):
            breakers.settle(breakers.admit("a"))
        return (time.perf_counter() - began) / rounds * 1e6

    assert min(took_us() for _ in range(10)) < 2 * 1.0  # two calls


# ---- targets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (TetherFailed(kind="HTTP 404", reason="", permanent=True), False),
        (TetherFailed(kind="HTTP 408", reason="", permanent=False), True),
        (TetherFailed(kind="HTTP 429", reason="", permanent=False), True),
        (TetherFailed(kind="HTTP 503", reason="", permanent=False), True),
        (TetherFailed(kind="Agent", reason="", status=400), False),
        (TetherFailed(kind="Agent", reason="", status=500, permanent=True), True),
        (TetherFailed(kind="Connection", reason=""), True),
        (TetherFailed(kind="Answer", reason="", permanent=True), False),
        (StepTimedOut(timeout_s="3"), True),
        (CodeFailed(reason=""), True),
        (StoreUnreachable(path="", reason=""), True),
        (OSError("down"), True),
        (StepCancelled(), False),
        (asyncio.CancelledError(), False),
        (futures.CancelledError(), False),
        (KeyboardInterrupt(), False),
        (TargetRefused(target="", reason="", permanent=True), False),
        (TargetUnavailable(target="", reason="", when=""), False),
        (PortMissing(port="", given=""), False),
        (ExpressionFailed(text="", reason=""), False),
        (JournalBroken(path="", reason=""), False),
        (TreadleError(), False),
    ],
    ids=repr,
)
def test_what_counts_against_a_target(error, counts) -> None:
    assert counts_against(error) is counts


@pytest.mark.parametrize(
    ("endpoint", "target"),
    [
        ("https://API.example.com./v1?x=1", "api.example.com"),
        ("https://user:word@example.com:443/", "example.com"),
        ("http://example.com", "example.com:80"),
        ("https://example.com:8443", "example.com:8443"),
        ("http://[::1]:81/", "[::1]:81"),
        ("postgresql://db:5432/x", "db:5432"),
        ("postgresql://db/x", None),
        ("http://example.com:99999/", None),
        ("http://[::1/", None),
        ("rows.csv", None),
        ("", None),
    ],
)
def test_the_target_of_an_address_is_its_host_and_port(endpoint, target) -> None:
    assert target_of(endpoint) == target
