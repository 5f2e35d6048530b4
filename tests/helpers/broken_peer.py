"""A planner for tests that dies after its first answer."""

import json
import sys

print(json.dumps({"id": json.loads(sys.stdin.readline())["id"], "value": 1.0}), flush=True)
raise SystemExit("out of luck")
