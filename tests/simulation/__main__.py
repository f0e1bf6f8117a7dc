"""`python -m tests.simulation`: crash made-up models a million times, or one of them again as a report said."""

from __future__ import annotations

import argparse
import os
import sys

from tests.simulation.models import make_case
from tests.simulation.simulate import points, problem, report, search_all
from tests.simulation.stories import Stage


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    asked.add_argument("--points", type=int, default=10_000, help="crash points to try")
    asked.add_argument("--seed", type=int, default=1, help="the first model's seed")
    asked.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked.add_argument("--crash", type=int, help="only this crash point of the seed's model; -1: none at all")
    wishes = asked.parse_args()
    if wishes.crash is None:
        try:
            print(*search_all(wishes.points, wishes.seed, wishes.processes), sep="\n")
        except AssertionError as error:
            print(error)
            return 1
        return 0
    case = make_case(wishes.seed)
    blows = () if wishes.crash < 0 else list(points(case, Stage(case).play()))[wishes.crash]
    said = problem(case, blows)
    print(report(case, blows, said, number=wishes.crash) if said else f"all is well with {blows}")
    return bool(said)


if __name__ == "__main__":
    sys.exit(main())
