# SPDX-License-Identifier: Apache-2.0
"""What the disk does without a broker, in the folder where the node has its logs."""
import json
import os
import shutil
import subprocess
import time

from process import WAIT_S, Failure

FIO_WRITES = 4000
FIO_BYTES_MAX = 128 << 20


def appends_a_second(folder, size, seconds=0.5):
    """pwrite and fdatasync of ours, one after the other, on a file that grows."""
    path = folder / "floor"
    block = bytes(size)
    with open(path, "wb", buffering=0) as file:
        count, at, end = 0, 0, time.monotonic() + seconds
        begin = time.monotonic()
        while time.monotonic() < end:
            at += os.pwrite(file.fileno(), block, at)
            os.fdatasync(file.fileno())
            count += 1
        rate = count / (time.monotonic() - begin)
    path.unlink()
    return rate


def fio_writes_a_second(folder, size, *words):
    """The same by fio."""
    count = max(20, min(FIO_WRITES, FIO_BYTES_MAX // size))
    done = subprocess.run(
        ["fio", "--name=floor", f"--directory={folder}", "--rw=write", f"--bs={size}",
         f"--size={size * count}", "--fdatasync=1", "--ioengine=psync", "--runtime=1", "--unlink=1",
         "--output-format=json", *words], capture_output=True, text=True, timeout=WAIT_S,
        stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Failure("fio: " + done.stderr.strip())
    return json.loads(done.stdout)["jobs"][0]["write"]["iops"]


def fio_floors(folder, size):
    """Writes of `size` bytes a second, each synced: of a file that grows as a log does, and into one that
    has all its blocks before. Empty without fio."""
    if shutil.which("fio") is None:
        return {}
    return {"grows": fio_writes_a_second(folder, size, "--fallocate=none", "--create_on_open=1"),
            "laid": fio_writes_a_second(folder, size, "--overwrite=1")}
