"""The store of features: whole or absent after a kill at any step, mapped, shared; a full disk is told."""

import errno
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from vkit.errors import VkitError
from vkit.train import feature_store
from vkit.train.feature_store import FeatureStore


def block(seed, rows=3, width=8):
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float16)


def write(folder, keys, **options):
    """Each key's block as a shard of its own."""
    folder.mkdir(exist_ok=True)
    with FeatureStore(folder).writer(shard_bytes=1, **options) as writer:
        for key in keys:
            writer.add(str(key), block(key))
            writer.flush_if_due()


def held(folder, keys=range(20)):
    """Which blocks a folder has; each of them must be right."""
    store = FeatureStore(folder)
    found = {key for key in keys if str(key) in store}
    for key in found:
        np.testing.assert_array_equal(store[str(key)], block(key))
    return found


def test_blocks_of_all_lengths_and_widths_come_back(tmp_path):
    blocks = {f"{rows}x{width}": block(rows, rows, width) for rows in (1, 5, 0) for width in (4, 7, 256)}
    store = FeatureStore(tmp_path)
    with store.writer() as writer:
        for key, values in blocks.items():
            writer.add(key, values)
    for opened in (store, FeatureStore(tmp_path)):
        for key, values in blocks.items():
            np.testing.assert_array_equal(opened[key], values)
            assert opened[key].shape == values.shape
    assert "2x4" not in store
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["shard-000000.safetensors"]


def test_a_shard_is_an_ordinary_safetensors_file(tmp_path):
    from safetensors.numpy import load_file

    with FeatureStore(tmp_path).writer() as writer:
        writer.add("a", block(1))
        writer.add("b", block(2))
    tensors = load_file(tmp_path / "shard-000000.safetensors")
    np.testing.assert_array_equal(tensors["8"], np.concatenate([block(1), block(2)]))


def test_a_block_is_read_where_it_lies_in_the_file(tmp_path):
    write(tmp_path, [1])
    values = FeatureStore(tmp_path)["1"]
    while not isinstance(values, np.memmap):
        assert not values.flags.writeable
        assert not values.flags.owndata
        values = values.base
    assert values.filename == tmp_path / "shard-000000.safetensors"


def test_a_shard_is_written_when_it_is_large_or_old(tmp_path):
    def shards():
        return len(list(tmp_path.glob("*.safetensors")))

    with FeatureStore(tmp_path).writer(shard_bytes=2 * block(0).nbytes) as writer:
        for key, expected in ((1, 0), (2, 1), (3, 1), (4, 2)):
            writer.add(str(key), block(key))
            writer.flush_if_due()
            assert shards() == expected
    with FeatureStore(tmp_path).writer(shard_seconds=0) as writer:
        writer.add("5", block(5))
        writer.flush_if_due()
        assert shards() == 3


def test_what_was_added_before_an_error_is_kept(tmp_path):
    def interrupted():
        with FeatureStore(tmp_path).writer() as writer:
            writer.add("1", block(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert held(tmp_path) == {1}


# Kills -----------------------------------------------------------------------------------------------------

STEPS = 6  # of a shard: before and after each of its file's fsync, its rename, and the fsync of its line


def write_and_die(folder, keys, step):
    """In a process of its own: write blocks until the given step, and be killed there."""
    child = os.fork()
    if child == 0:
        passed = 0

        def dying(function):
            def call(*arguments):
                nonlocal passed
                for here in (lambda: None, lambda: function(*arguments)):
                    here()
                    if passed == step:
                        os.kill(os.getpid(), signal.SIGKILL)
                    passed += 1

            return call

        os.fsync, Path.replace = dying(os.fsync), dying(Path.replace)
        write(folder, keys)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("step", range(3 * STEPS + 1))
def test_a_kill_at_any_step_costs_one_shard_and_leaves_no_wrong_row(tmp_path, step):
    write(tmp_path / "other", [11, 12, 13])
    for orphan in (tmp_path / "other").glob(
        "*.safetensors"
    ):  # as an earlier kill may leave: of the same size
        shutil.copy(orphan, tmp_path)
    killed = write_and_die(tmp_path, [1, 2, 3], step)
    assert killed == (step < 3 * STEPS)
    found = held(tmp_path)
    assert found == set([1, 2, 3][: len(found)])
    assert len(found) >= step // STEPS
    write(tmp_path, sorted({1, 2, 3, 4} - found))
    assert held(tmp_path) == {1, 2, 3, 4}


@pytest.mark.parametrize("keep", [1, 40, -1])
def test_a_torn_line_of_the_index_is_a_shard_that_is_not_there(tmp_path, keep):
    write(tmp_path, [1, 2])
    index = tmp_path / "index.jsonl"
    first, second = index.read_bytes().splitlines(keepends=True)
    index.write_bytes(first + second[:keep])
    assert held(tmp_path) == {1}
    write(tmp_path, [2, 3])
    assert held(tmp_path) == {1, 2, 3}


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_shard_that_is_cut_or_gone_is_written_again(tmp_path, damage):
    write(tmp_path, [1, 2, 3])
    shard = tmp_path / "shard-000001.safetensors"
    if damage == "gone":
        shard.unlink()
    else:
        os.truncate(shard, shard.stat().st_size - 1)
    assert held(tmp_path) == {1, 3}
    write(tmp_path, [2])
    assert held(tmp_path) == {1, 2, 3}


@pytest.mark.parametrize("size", [8, 40])
def test_a_shard_whose_header_is_damaged_is_named(tmp_path, size):
    write(tmp_path, [1, 2, 3])
    with (tmp_path / "shard-000001.safetensors").open("r+b") as shard:
        shard.write(bytes(size))
    with pytest.raises(VkitError, match=r"shard-000001\.safetensors is damaged.*delete it, and run again"):
        held(tmp_path)


def test_a_shard_whose_header_says_no_place_is_named(tmp_path):
    write(tmp_path, [1, 2, 3])
    path = tmp_path / "shard-000001.safetensors"
    data = path.read_bytes()
    place = data.index(b'"data_offsets":[') + len(b'"data_offsets":[')
    end = data.index(b"]", place)
    path.write_bytes(data[:place] + b" " * (end - place) + data[end:])
    with pytest.raises(VkitError, match=r"shard-000001\.safetensors is damaged.*delete it, and run again"):
        held(tmp_path)


@pytest.mark.parametrize(
    "line", ["nonsense", "[]", '{"shard": "a"}', '{"shard": 1, "bytes": 2, "tensors": 3}']
)
def test_a_damaged_index_is_refused_by_name(tmp_path, line):
    (tmp_path / "index.jsonl").write_text(line + "\n")
    with pytest.raises(VkitError, match=r"index\.jsonl"):
        FeatureStore(tmp_path)


# Others, and the disk --------------------------------------------------------------------------------------


def test_two_runs_do_not_write_into_a_folder_at_once(tmp_path):
    with FeatureStore(tmp_path).writer() as writer:
        writer.add("1", block(1))
        with pytest.raises(VkitError, match="in use by another run"), FeatureStore(tmp_path).writer():
            pass
    assert held(tmp_path) == {1}


def test_a_writer_knows_what_another_one_has_written_meanwhile(tmp_path):
    store = FeatureStore(tmp_path)
    write(tmp_path, [1])
    assert "1" not in store
    with store.writer() as writer:
        assert "1" in store
        writer.add("2", block(2))
    assert held(tmp_path) == {1, 2}


def test_too_little_space_is_told_with_what_is_needed(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=3 * 2**30)
    monkeypatch.setattr(feature_store.shutil, "disk_usage", lambda folder: usage)
    FeatureStore(tmp_path).check_space(2 * 2**30)
    with pytest.raises(VkitError, match=r"need 5\.0 GiB, but 3\.0 GiB are free; free space"):
        FeatureStore(tmp_path).check_space(5 * 2**30)


@pytest.mark.parametrize("place", ["shard", "index"])
def test_a_full_disk_is_one_line_and_what_is_done_stays(tmp_path, monkeypatch, place):
    write(tmp_path, [1])
    real = os.fsync

    def full(descriptor):
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")).name.strip(".").startswith(place):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to tell files apart")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(VkitError, match=r"cannot be written \(No space left on device\)") as error:
        write(tmp_path, [2, 3])
    assert "\n" not in str(error.value)
    monkeypatch.undo()
    assert held(tmp_path) == {1}
    write(tmp_path, [2])
    assert held(tmp_path) == {1, 2}


def test_what_is_no_block_of_float16_is_refused(tmp_path):
    with FeatureStore(tmp_path).writer() as writer:
        for wrong in (block(0).astype(np.float32), block(0)[0]):
            with pytest.raises(ValueError, match=r"\(rows, width\) of float16"):
                writer.add("1", wrong)


def test_the_index_names_a_shards_blocks_and_its_size(tmp_path):
    """So that a reader can tell a shard that is not whole."""
    write(tmp_path, [1])
    (entry,) = map(json.loads, (tmp_path / "index.jsonl").read_text().splitlines())
    size = (tmp_path / entry["shard"]).stat().st_size
    assert entry == {"shard": "shard-000000.safetensors", "bytes": size, "tensors": {"8": [["1"], [3]]}}
