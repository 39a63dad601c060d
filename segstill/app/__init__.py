"""A local page to try networks on an image: masks, areas, time, agreement, and the maps of classifiers.

segstill app RUN student.onnx
"""

from .server import open_page

__all__ = ["open_page"]
