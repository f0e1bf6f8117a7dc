"""Signed checkpoints: what they hold against someone who has the store but not the key."""

from datetime import UTC, datetime

import pytest

from engine.domain.events import Head
from engine.errors import LedgerTampered, SettingInvalid, StoreUnreachable
from engine.ledger.checkpoints import CheckpointFile

KEY = bytes(range(32))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def head(number):
    return Head(sequence=number, hash=f"{number:064x}")


@pytest.fixture
def file(tmp_path):
    return CheckpointFile(tmp_path / "made" / "checkpoints", KEY)


@pytest.fixture
def path(file, tmp_path):
    for number in (3, 5, 9):
        file.append(head(number), NOW)
    return tmp_path / "made" / "checkpoints"


def test_checkpoints_are_read_as_they_were_signed(file):
    assert file.read() == []
    made = [file.append(head(number), NOW) for number in (3, 5, 9)]
    assert file.read() == made
    assert [(each.sequence, each.hash, each.ts) for each in made] == [(n, head(n).hash, NOW) for n in (3, 5, 9)]


def test_a_head_is_signed_once(file):
    assert file.append(head(3), NOW) == file.append(head(3), datetime(2027, 1, 1, tzinfo=UTC))
    assert len(file.read()) == 1


def test_a_head_that_went_back_or_changed_is_not_signed(file):
    file.append(head(3), NOW)
    for other in (head(2), Head(sequence=3, hash="f" * 64), Head()):
        with pytest.raises(LedgerTampered, match="entry 3 was signed"):
            file.append(other, NOW)


def test_every_changed_byte_shows(file, path):
    whole = path.read_bytes()
    for place in range(len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(LedgerTampered):
            file.read()


def test_lines_taken_out_or_moved_show(file, path):
    first, second, third = path.read_bytes().splitlines(keepends=True)
    for kept in ([second, third], [first, third], [second, first, third], [first, second, second, third]):
        path.write_bytes(b"".join(kept))
        with pytest.raises(LedgerTampered):
            file.read()


def test_another_key_does_not_do(path):
    with pytest.raises(LedgerTampered, match="not signed with this key"):
        CheckpointFile(path, bytes(32)).read()


def test_a_line_cut_off_by_a_crash_is_left_out_and_written_over(file, path):
    whole = path.read_bytes()
    for length in range(len(b"".join(whole.splitlines(keepends=True)[:2])), len(whole) - 1):
        path.write_bytes(whole[:length])
        assert [each.sequence for each in file.read()] == [3, 5]
    file.append(head(11), NOW)
    assert [each.sequence for each in file.read()] == [3, 5, 11]


def test_a_short_key_is_refused(tmp_path):
    with pytest.raises(SettingInvalid):
        CheckpointFile(tmp_path / "c", b"short")


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnreachable):
        CheckpointFile(tmp_path / "file" / "c", KEY).append(head(1), NOW)
