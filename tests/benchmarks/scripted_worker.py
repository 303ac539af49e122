"""A worker of the comparison with the peers: its steps do nothing, and it ends after some of them."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "peers"))

from turns import Turns

if __name__ == "__main__":
    steps, prompts = int(sys.argv[1]), json.loads(sys.argv[2])["prompts"]
    turns = Turns("numpy")
    print("what a library prints")
    for step in range(steps):
        if not turns.finished(rollout_seconds=step, tokens=prompts):
            sys.exit()
    sys.exit("it could not go on")
