"""The journal of runs under way, as every store keeps it."""

import pytest

from engine.errors import JournalBroken
from engine.ports import JournalRecord
from tests.contract.samples import ODD_TEXTS
from tests.threads import together


def record(number, run="r1", kind="done", **fields):
    given = {"path": f"step-{number}", "attempt": 1, "ts_us": 1_700_000_000_000_000 + number, "body": b"{}"}
    return JournalRecord(run=run, kind=kind, **{**given, **fields})


def test_records_are_read_in_the_order_they_were_appended(journal):
    given = [record(number, body=bytes([number])) for number in range(200)]
    tickets = [journal.append(each) for each in given]
    journal.sync(tickets[-1])
    assert tickets == sorted(set(tickets))
    assert journal.read("r1") == given
    assert journal.read("nobody") == []


def test_a_record_can_be_read_without_waiting_for_it(journal):
    for number in range(3):
        journal.append(record(number))
        assert journal.read("r1")[-1] == record(number)


@pytest.mark.parametrize("text", [*ODD_TEXTS, "", "per-file[3]/clean"])
def test_odd_records_are_kept(journal, text):
    odd = record(1, run=f"r{text}", kind="failed", path=text, attempt=10, ts_us=-1, body=text.encode() + b"\x00\xff")
    empty = record(2, run=f"r{text}", kind="intent", body=b"")
    large = record(3, run=f"r{text}", body=b"x" * 200_000)
    for each in (odd, empty, large):
        journal.append(each)
    assert journal.read(f"r{text}") == [odd, empty, large]


def test_runs_are_kept_apart_and_listed_by_age(journal):
    for number in range(30):
        journal.append(record(number, run=f"r{2 - number % 3}"))
    assert journal.unfinished() == ["r2", "r1", "r0"]
    assert [each.ts_us % 3 for each in journal.read("r1")] == [record(1).ts_us % 3] * 10


def test_a_forgotten_run_is_gone_and_others_stay(journal):
    for number in range(4):
        journal.append(record(number, run=f"r{number % 2}"))
    assert journal.claim("r0")
    journal.forget("r0")
    journal.forget("nobody")
    assert journal.unfinished() == ["r1"]
    assert journal.read("r0") == []
    assert len(journal.read("r1")) == 2
    journal.append(record(9, run="r0"))
    assert journal.read("r0") == [record(9, run="r0")]


def test_a_process_can_claim_its_own_run_again(journal):
    assert journal.claim("r1")
    assert journal.claim("r1")


def test_the_next_run_is_the_oldest_that_nobody_has(journal):
    for run in ("r3", "r1", "r2"):
        journal.append(record(1, run=run))
    journal.sync(journal.append(record(2, run="r2")))
    assert journal.claim("r1")
    assert [journal.claim_next() for _ in range(3)] == ["r3", "r2", None]
    journal.forget("r3")
    journal.sync(journal.append(record(3, run="r3")))
    assert journal.claim_next() == "r3"


def test_what_this_process_has_is_held_by_no_other(journal):
    journal.sync(journal.append(record(1)))
    assert journal.held() == set()
    assert journal.claim_next() == "r1"
    assert journal.held() == set()


def test_eight_threads_take_each_run_once(journal):
    for number in range(24):
        ticket = journal.append(record(1, run=f"r{number}"))
    journal.sync(ticket)
    given = []

    def work():
        while (run := journal.claim_next()) is not None:
            given.append(run)

    together(*[work] * 8)
    assert sorted(given) == sorted(f"r{number}" for number in range(24))


def test_a_closed_journal_refuses_everything(journal):
    ticket = journal.append(record(1))
    journal.close()
    journal.close()
    uses = (
        lambda: journal.append(record(2)),
        lambda: journal.sync(ticket),
        lambda: journal.read("r1"),
        lambda: journal.claim("r1"),
        lambda: journal.forget("r1"),
        journal.unfinished,
        journal.claim_next,
        journal.held,
    )
    for use in uses:
        with pytest.raises(JournalBroken):
            use()


def test_eight_threads_each_keep_their_order(journal):
    def work(index):
        for number in range(300):
            ticket = journal.append(record(number, run=f"r{index % 2}", path=f"{index}"))
            if number % 50 == 0:
                journal.sync(ticket)

    together(*(lambda index=index: work(index) for index in range(8)))
    kept = [*journal.read("r0"), *journal.read("r1")]
    for index in range(8):
        assert [each.ts_us for each in kept if each.path == f"{index}"] == [record(n).ts_us for n in range(300)]
