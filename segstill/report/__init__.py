"""Pictures and self-contained HTML pages about runs, and about a comparison of methods."""

from .collect import write_report
from .comparison import COLUMNS as METHOD_COLUMNS
from .comparison import table_rows, write_comparison
from .page import write_page
from .seeds import write_seed_report
from .seeds_page import SeedPage
from .view import ExampleView, PageView, RunView

__all__ = [
    "METHOD_COLUMNS",
    "ExampleView",
    "PageView",
    "RunView",
    "SeedPage",
    "table_rows",
    "write_comparison",
    "write_page",
    "write_report",
    "write_seed_report",
]
