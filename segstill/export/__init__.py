"""Ship a student: one file that another program runs, held against the network on real images before it is written.

segstill export RUN --out student.onnx --int8
"""

from .about import About, describe, palette_of
from .export import ExportSpec, Shipment, export
from .measure import ParityError, megabytes, race
from .runtime import Exported, open_exported

__all__ = [
    "About",
    "ExportSpec",
    "Exported",
    "ParityError",
    "Shipment",
    "describe",
    "export",
    "megabytes",
    "open_exported",
    "palette_of",
    "race",
]
