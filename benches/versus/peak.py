"""Runs a command and prints the most memory it held, in KiB.

It stands between the benchmark and the command because Linux counts what a process held before `exec` as the
new program's: a child of the benchmark itself, with PyTorch loaded, could never show less than that.
"""

from __future__ import annotations

import os
import subprocess
import sys

if __name__ == "__main__":
    child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    print(usage.ru_maxrss)
    sys.exit(os.waitstatus_to_exitcode(status))
