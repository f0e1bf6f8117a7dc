"""Copies, backups and restores: everything arrives, or one is told and nothing is there."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

import engine
from engine import maintenance
from engine.domain.edits import Change, Describe
from engine.domain.model import FunctionModel
from engine.domain.writes import PutEntity, PutSetting
from engine.errors import FileMissing, LedgerTampered, TransferRefused
from engine.settings import Settings
from engine.storage import transfer
from engine.wiring import open_stores
from tests.contract.samples import entities

HEALTH = Path(__file__).parents[2] / "assets" / "demos" / "machine-health.json"


@pytest.fixture
def settings(tmp_path):
    return replace(Settings.from_environment({}), home=tmp_path / "home")


@pytest.fixture
def source(tmp_path, settings):
    """A store with some of everything, an unfinished run and a blob among them."""
    url = f"duckdb:///{tmp_path / 'source.duckdb'}"
    with engine.open(url, settings=settings) as opened:
        made = opened.models.add(FunctionModel.load(HEALTH))
        opened.models.save(
            made.id, (Describe(changes=(Change(path=("description",), value="Edited"),)),), base_revision=made.revision
        )
        opened.models.publish(made.id, message="first")
        opened.models.delete(opened.models.create("Gone").id)
        run = opened.run(made.id, {})
        assert run.status == "succeeded", run.error
        opened.settings.put("theme", {"dark": True})
    stores = open_stores(url, settings)
    stores.catalog.commit(*(PutEntity(entity=entity) for entity in entities()))
    stores.blobs.put(b"large" * 50_000)
    stores.journal.sync(stores.journal.append(engine.ports.JournalRecord("r9", "started", "", 0, 1, b"\x00\xff")))
    stores.close()
    return url


def summary(url, settings):
    stores = open_stores(url, settings)
    try:
        return transfer.summary_of(transfer.Whole(stores.catalog, stores.journal, stores.blobs))
    finally:
        stores.close()


def test_a_backup_restored_elsewhere_is_the_same_store(source, settings, tmp_path):
    file, target = tmp_path / "kept.treadle", f"duckdb:///{tmp_path / 'new' / 'target.duckdb'}"
    made = maintenance.back_up(file, source, settings=settings)
    assert made.counts["model"] == 2
    assert all(made.counts.values())
    assert maintenance.restore(file, target, settings=settings) == made
    assert summary(target, settings) == summary(source, settings) == made
    with engine.open(target, settings=settings) as opened:
        assert opened.ledger.verify().ok
        assert [row.updated_at for row in opened.models.list()] == updated(source, settings)
        assert opened.settings.get("theme") == {"dark": True}


def updated(url, settings):
    with engine.open(url, settings=settings) as opened:
        return [row.updated_at for row in opened.models.list()]


def test_a_copy_is_the_same_store(source, settings, tmp_path):
    target = f"duckdb:///{tmp_path / 'copy.duckdb'}"
    assert maintenance.copy(source, target, settings=settings) == summary(target, settings)


def test_a_target_that_is_not_empty_is_left_alone(source, settings, tmp_path):
    target = f"duckdb:///{tmp_path / 'other.duckdb'}"
    with engine.open(target, settings=settings) as opened:
        opened.models.create("Mine")
    before = summary(target, settings)
    with pytest.raises(TransferRefused, match="target is not empty"):
        maintenance.copy(source, target, settings=settings)
    assert summary(target, settings) == before


def test_a_copy_that_was_cut_off_is_recognized(source, settings, tmp_path, monkeypatch):
    target = f"duckdb:///{tmp_path / 'half.duckdb'}"
    monkeypatch.setattr(transfer, "_AT_ONCE", 2)
    parts = transfer.contents

    def cut(whole):
        for number, part in enumerate(parts(whole)):
            if number == 5:
                raise KeyboardInterrupt
            yield part

    monkeypatch.setattr(transfer, "contents", cut)
    with pytest.raises(KeyboardInterrupt):
        maintenance.copy(source, target, settings=settings)
    monkeypatch.undo()
    with pytest.raises(TransferRefused, match="cut off"):
        maintenance.copy(source, target, settings=settings)


def test_a_store_whose_ledger_was_altered_is_not_copied_as_if_it_were_right(source, settings, tmp_path):
    with duckdb.connect(source.removeprefix("duckdb:///")) as raw:
        raw.execute("UPDATE ledger SET actor = 'nobody' WHERE sequence = 2")
    with pytest.raises(TransferRefused, match="entry 2 of the ledger"):
        maintenance.copy(source, f"duckdb:///{tmp_path / 'x.duckdb'}", settings=settings)


def test_a_damaged_backup_is_refused_before_anything_is_written(source, settings, tmp_path):
    file, target = tmp_path / "kept.treadle", tmp_path / "target.duckdb"
    maintenance.back_up(file, source, settings=settings)
    whole = file.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            maintenance.restore(file, f"duckdb:///{target}", settings=settings)
        except (TransferRefused, LedgerTampered):
            assert not target.exists()
        else:  # a byte that means nothing, such as a time in the zip's directory: then everything is there
            assert summary(f"duckdb:///{target}", settings) == summary(source, settings)
            target.unlink()
            for beside in tmp_path.glob("target.duckdb.*"):
                beside.unlink() if beside.is_file() else __import__("shutil").rmtree(beside)
    for cut in (0, 10, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:cut])
        with pytest.raises(TransferRefused, match="not a backup"):
            maintenance.restore(file, f"duckdb:///{target}", settings=settings)


def test_other_files_are_no_backups(settings, tmp_path):
    target = f"duckdb:///{tmp_path / 'target.duckdb'}"
    with pytest.raises(FileMissing):
        maintenance.restore(tmp_path / "none", target, settings=settings)
    with zipfile.ZipFile(tmp_path / "newer", "w") as archive:
        archive.writestr("manifest.json", json.dumps({"format": "treadle-backup/9"}))
    with pytest.raises(TransferRefused, match="treadle-backup/9, not treadle-backup/1"):
        maintenance.restore(tmp_path / "newer", target, settings=settings)
    with pytest.raises(TransferRefused, match="ends with its program"):
        maintenance.back_up(tmp_path / "x", "memory:", settings=settings)


def test_a_store_that_changes_while_it_is_copied_is_not_copied(source, settings, tmp_path, monkeypatch):
    parts = transfer.contents

    def changing(whole):
        yield from parts(whole)
        whole.catalog.commit(PutSetting(key="x", value=1), *_entry())

    monkeypatch.setattr(transfer, "contents", changing)
    with pytest.raises(TransferRefused, match="changed meanwhile"):
        maintenance.back_up(tmp_path / "kept", source, settings=settings)
    assert not (tmp_path / "kept").exists()


def _entry():
    from engine.domain.writes import Record
    from tests.contract.samples import draft

    return (Record(draft=draft()),)
