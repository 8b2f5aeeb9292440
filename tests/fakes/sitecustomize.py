"""Lets a child process find the steps beside this file before the engine's own; for tests of the border.

A test puts this folder on PYTHONPATH. The engine itself has no door for tests.
"""

from pathlib import Path

import engine.steps

engine.steps.__path__ = [str(Path(__file__).with_name("steps")), *engine.steps.__path__]
