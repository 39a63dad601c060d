"""Pictures and self-contained HTML pages about runs, and about a comparison of methods."""

from .collect import write_report
from .comparison import COLUMNS as METHOD_COLUMNS
from .comparison import table_rows, write_comparison
from .page import write_page
from .view import ExampleView, PageView, RunView

__all__ = [
    "METHOD_COLUMNS",
    "ExampleView",
    "PageView",
    "RunView",
    "table_rows",
    "write_comparison",
    "write_page",
    "write_report",
]
