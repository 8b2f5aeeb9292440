"""An application with nothing but an engine, for `kill_loop.py`: does the job in the file it is given.

Prints the number of the engine's process, then each event, one JSON object a line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from qtpy.QtWidgets import QApplication

from engine.messages import decode, encode
from wsss_napari.worker import Engine

app = QApplication([])
engine = Engine()
told = []


def tell(event) -> None:
    if not told:
        print(json.dumps({"pid": engine._children[-1].pid}), flush=True)
    told.append(event)
    print(encode(event).decode(), flush=True)


engine.event.connect(tell)
engine.submit(decode(Path(sys.argv[1]).read_bytes()), then=lambda ending: app.quit())
app.exec_()
engine.close()
