"""From image labels to a shipped student: stages that are the existing verbs, with files in between."""

from .line import Line, Row, plan, run_chain

__all__ = ["Line", "Row", "plan", "run_chain"]
