"""Large values, as every store of blobs keeps them."""

import hashlib
from threading import Thread

import pytest

from engine.errors import StoreCorrupted, StoreUnreachable
from engine.storage.blobs import FileBlobs


@pytest.mark.parametrize("data", [b"", b"\x00", bytes(range(256)) * 4_000], ids=["empty", "nul", "1 MB"])
def test_a_value_is_read_as_it_was_kept_by_its_hash(blobs, data):
    name = blobs.put(data)
    assert name == hashlib.sha256(data).hexdigest()
    assert blobs.put(data) == name
    assert blobs.get(name) == data


@pytest.mark.parametrize("name", ["0" * 64, "", "../../../etc/passwd", "A" * 64, "0" * 63, "/etc/passwd"])
def test_a_name_of_nothing_is_told(blobs, name):
    with pytest.raises(StoreCorrupted):
        blobs.get(name)


def test_threads_may_keep_the_same_value_at_once(blobs):
    data = b"x" * 200_000
    threads = [Thread(target=blobs.put, args=(data,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert blobs.get(hashlib.sha256(data).hexdigest()) == data


def test_a_damaged_file_is_told_and_mended_by_keeping_the_value_again(tmp_path):
    blobs = FileBlobs(tmp_path)
    name = blobs.put(b"precious")
    place = tmp_path / name[:2] / name[2:4] / name
    for damaged in (b"precioux", b"prec", b""):
        place.write_bytes(damaged)
        with pytest.raises(StoreCorrupted, match="named after"):
            blobs.get(name)
        blobs.put(b"precious")
        assert blobs.get(name) == b"precious"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [name]


def test_a_directory_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    blobs = FileBlobs(tmp_path / "file" / "blobs")
    with pytest.raises(StoreUnreachable):
        blobs.put(b"data")
