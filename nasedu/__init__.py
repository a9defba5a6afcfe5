"""nasedu: neural architecture search to learn from, compare with and use."""

__version__ = "0.1.0"
