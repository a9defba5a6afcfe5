"""What leaves the house: a trained detector as a file, and a kit that times a space's blocks on another device."""

from nasedu.deploy.detector import ExportedDetector, export_detector
from nasedu.deploy.kit import KitResult, import_kit, write_kit

__all__ = ["ExportedDetector", "KitResult", "export_detector", "import_kit", "write_kit"]
