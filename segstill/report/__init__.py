"""Pictures and one self-contained HTML page about a run or a comparison."""

from .collect import write_report
from .page import write_page
from .view import ExampleView, PageView, RunView

__all__ = ["ExampleView", "PageView", "RunView", "write_page", "write_report"]
