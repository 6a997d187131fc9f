# SPDX-License-Identifier: Apache-2.0
"""What a node and a peer share: a scratch folder, one process, its log, names that are new."""
import pathlib
import shutil
import tempfile

from process import Meter, end


class Server:
    """Begins with start() of the subclass, which sets `process`; whatever happens, close() undoes it."""

    allocations_file = None  # where a preloaded counter counts

    def __init__(self, prefix, bin_dir, counting):
        self.bin = pathlib.Path(bin_dir).resolve()
        self.counting = counting
        self.names = 0
        self.process = None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=prefix))
        self.log = open(self.folder / "log", "wb")
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self):
        raise NotImplementedError

    def close(self):
        if self.process is not None:
            end(self.process, 10)
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def said(self):
        """The last words of its log."""
        return (self.folder / "log").read_text(errors="replace")[-500:]

    def next_name(self, prefix):
        self.names += 1
        return f"{prefix}-{self.names}"

    def progress_file(self):
        return self.folder / self.next_name("progress")

    def meter(self):
        return Meter(self.process.pid, self.allocations_file, self.counting)
