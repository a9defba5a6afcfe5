"""What leaves the house: a trained detector as a file, and a kit that times a space's blocks on another device."""

from nasedu.deploy.detector import export_detector
from nasedu.deploy.kit import import_kit, write_kit

__all__ = ["export_detector", "import_kit", "write_kit"]
