"""What leaves the house: a trained detector as a file, and a kit that times a space's blocks on another device."""

from nasedu.deploy.detector import export_detector
from nasedu.deploy.kit import import_kit, write_kit
from nasedu.deploy.onnx_detector import load_onnx

__all__ = ["export_detector", "import_kit", "load_onnx", "write_kit"]
