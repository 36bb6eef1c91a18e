"""What small sets are good for: one file for each application."""

from datadam_lite.applications import continual

__all__ = ["continual"]
