"""One network at a time is traced or exported in a process.

While torch follows a network it replaces functions of its own, of Python's `math` and of logging for all threads. Two
threads that do so at once leave the replacements of one behind for good: nothing can be exported any more.
"""

import threading

TRACING = threading.RLock()
