"""A latency table of another device: blocks as ONNX files with a runner that needs no PyTorch, and the way back."""

from nasedu.deploy.kit.energy import energy_kit
from nasedu.deploy.kit.read import import_kit
from nasedu.deploy.kit.whole import estimate_kit
from nasedu.deploy.kit.write import KitConfig, files_of, write_kit

__all__ = ["KitConfig", "energy_kit", "estimate_kit", "files_of", "import_kit", "write_kit"]
