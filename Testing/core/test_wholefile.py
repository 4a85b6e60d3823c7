"""A file is there whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ivimcore.reports.roistatistics import write_csv
from ivimcore.wholefile import whole_file

PACKAGES = Path(__file__).parents[2] / "IVIMMapping"
KILLED = """
import os, signal
from ivimcore.wholefile import whole_file
with whole_file("table.csv") as unfinished:
    unfinished.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "table.csv"
    with whole_file(path) as unfinished:
        unfinished.write_text("D,f\n")
        assert not path.exists()
        assert unfinished.parent == tmp_path  # a rename across disks would copy, which a kill can halve
    assert path.read_text() == "D,f\n"
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path, fault):
    path = tmp_path / "table.csv"
    path.write_text("before")
    with pytest.raises(type(fault)), whole_file(path) as unfinished:
        unfinished.write_text("half")
        raise fault
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes with names there")
def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with whole_file(pipe) as unfinished:
        unfinished.write_text("D,f\n")
    assert os.read(reader, 100) == b"D,f\n" and pipe.is_fifo()
    os.close(reader)


def test_a_table_whose_rows_fail_leaves_no_half(tmp_path):
    with pytest.raises(KeyError):
        write_csv(tmp_path / "table.csv", [{"D": 1.0}, {"f": 0.1}], ("D",))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX systems")
def test_what_a_killed_process_left_is_removed_by_the_next_who_writes_the_file(tmp_path):
    child = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, env={"PYTHONPATH": str(PACKAGES)}, timeout=60)
    assert child.returncode == -signal.SIGKILL
    assert [file.suffix for file in tmp_path.iterdir()] == [".part"]
    other = tmp_path / ".tables.csv.1.part"
    other.touch()
    with whole_file(tmp_path / "table.csv") as unfinished:
        unfinished.write_text("whole")
    assert {file.name for file in tmp_path.iterdir()} == {"table.csv", other.name}
