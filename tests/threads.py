"""Several works at once, each in a thread of its own."""

from threading import Barrier, Thread


def together(*works):
    """Begin all at the same moment, wait for them, and raise what the first that failed raised."""
    ready, raised = Barrier(len(works)), []

    def begin(work):
        ready.wait()
        try:
            work()
        except BaseException as error:
            raised.append(error)

    threads = [Thread(target=begin, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
