"""A planner for tests that answers 100 to every row with lengths, and says why not to the others. Same lines as a real peer."""

import json
import sys

for line in sys.stdin:
    row = json.loads(line)
    known = "isl" in row
    print(
        json.dumps(
            {"id": row["id"], "value": 100.0} if known else {"id": row["id"], "reason": "LookupError: no lengths"}
        )
    )
