"""A latency table of another device: blocks as ONNX files with a runner that needs no PyTorch, and the way back."""

from nasedu.hardware.kit.read import KitResult, import_kit
from nasedu.hardware.kit.write import write_kit

__all__ = ["KitResult", "import_kit", "write_kit"]
