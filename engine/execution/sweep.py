"""The hot loop: makes every plain call of a frame that is ready, on the run's own thread.

sweep: longer than other functions. It does for one action what `Core`, `Frame` and `Attempts` do together, written out
and with local names, because at three microseconds a step a call costs more than what is called. Whatever is out of the
ordinary (a failure, a step that waits for a place, something that a journal says about it) it leaves to them.
"""

from __future__ import annotations

from heapq import heappop, heappush
from sys import getrefcount
from typing import TYPE_CHECKING, Any

from engine.execution import invocation
from engine.execution.core import DONE, READY
from engine.execution.frames import Frame
from engine.execution.plan import ACTION

if TYPE_CHECKING:
    from engine.execution.attempts import Attempts

_MOST_STEPS = 500
"""Steps until the run looks again at what else has happened."""
_OWN_REFERENCES = 2


def sweep(frame: Frame, attempts: Attempts) -> bool:  # noqa: C901, PLR0912, PLR0915 - see the top
    """Make plain calls until the next slot is none, or nothing is ready; return True if it stopped in the middle."""
    core, plan, values, left, prefix = frame.core, frame.plan, frame.values, frame.left, frame.prefix
    ready, running, limits, state, pending = core.ready, core.running, core.limits, core.state, core.pending
    parked = core.parked
    by_rank, rank, kinds, nodes, container = plan.by_rank, plan.rank, plan.kinds, plan.nodes, plan.container
    plain, arguments, successors = plan.plain, plan.arguments, plan.successors
    scribe, paces, watcher, recovered = attempts.scribe, attempts.paces, attempts.watcher, attempts.recovered
    touched, blobs = attempts.touched, attempts.blobs
    clock, note = attempts.clock, scribe.plain
    context = None
    ended = clock()
    for _ in range(_MOST_STEPS):
        if not ready:
            break
        slot = by_rank[ready[0]]
        call = plain[slot]
        home = container[slot]
        if call is None or running[home] >= limits[home] or (call.learned and not paces.is_quick(call.reference)):
            break
        path = prefix + nodes[slot].id
        if touched and path in touched:
            break
        heappop(ready)
        given: dict[str, Any] = {}
        for port, sources, many, _ in arguments[slot]:
            found: list[Any] = []
            for source, name in sources:
                value = values[source]
                if name in value:
                    found.append(value[name])
                uses = left[source] - 1
                left[source] = uses
                if not uses:
                    values[source] = None
            if many:
                given[port] = found
            elif found:
                given[port] = found[0]
        if call.ports:
            given = {**call.ports, **given}
        began = ended
        outputs = recovered.quick_outputs(path, blobs) if touched is not None else None
        if outputs is None:
            if context is None or getrefcount(context) > _OWN_REFERENCES or context.logged is not None:
                context = invocation.Context(attempts.run, path, 1, None)
            else:
                context.path = path
            try:
                result = call.invoke(given, call.fixed, context)
                names = call.outputs
                if result.__class__ is dict and len(names) == 1 and len(result) == 1 and names[0] in result:
                    outputs = result
                else:
                    outputs = invocation.plain_outputs(call, result)
                ended = clock()
                note(path, began, ended, outputs, context.logged)
            except BaseException as error:  # noqa: BLE001 - whatever a tether raises is the step's failure, never ours
                running[home] += 1
                for _, sources, _, _ in arguments[slot]:
                    for source, _ in sources:
                        left[source] += 1
                attempts.failed_plainly(frame, slot, given, context, began=began, error=error)
                break
            if call.learned:
                paces.note(call.reference, ended - began)
        if watcher is not None:
            watcher(path, nodes[slot].id, began, ended, outputs)
        if left[slot]:
            values[slot] = outputs
        state[slot] = DONE
        core.open -= 1
        if parked[home]:
            heappush(ready, heappop(parked[home]))
        for target in successors[slot]:
            waits_for = pending[target] - 1
            pending[target] = waits_for
            if not waits_for:
                if kinds[target] == ACTION:
                    state[target] = READY
                    heappush(ready, rank[target])
                else:
                    core.marked(target)
    else:
        scribe.flush()
        return bool(ready)
    scribe.flush()
    return False
