"""From image labels to a shipped student: stages that are the existing verbs, with files in between."""

from .line import Line, Row, plan, run_chain
from .summary import Reached, duration, reached

__all__ = ["Line", "Reached", "Row", "duration", "plan", "reached", "run_chain"]
