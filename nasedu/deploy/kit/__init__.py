"""A latency table of another device: blocks as ONNX files with a runner that needs no PyTorch, and the way back."""

from nasedu.deploy.kit.read import import_kit
from nasedu.deploy.kit.whole import estimate_kit
from nasedu.deploy.kit.write import write_kit

__all__ = ["estimate_kit", "import_kit", "write_kit"]
