"""Tries ways to do what a rule denies."""
import os
import sys


def each(ways, directory):
    """Tries each way in a process and a directory of its own."""
    for name, way in ways.items():
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            won = False
            try:
                os.chdir(f"{directory}/{name}")
                won = way()
            except (OSError, IndexError):
                pass
            finally:
                print(name, "won" if won else "lost", flush=True)
                os._exit(0)
        os.waitpid(pid, 0)
