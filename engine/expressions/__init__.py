"""CEL expressions: conditions, parameters, mappings and rules.

CEL reaches no Python, loops over data only and has a budget of 10,000 iterations. What the budget does not bound
(comparing large values in a loop, texts that grow by being doubled) is estimated beforehand from the text and the
data; what may take long is evaluated in a process of its own, which can be ended and has memory of its own to run out
of: the evaluator holds Python's lock, so a thread could not be stopped.

Values mean in CEL what they mean in JSON. Tables become lists of objects, dates and times ISO texts, decimals numbers,
bytes base64 text.
"""

from engine.expressions.cel import Cel, variables

__all__ = ["Cel", "variables"]
