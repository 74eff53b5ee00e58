"""What people do with a mask: functions of Pillow images, and the applications that the commands and the server run."""

from .base import Application, Result
from .registry import APPLICATIONS

__all__ = ["APPLICATIONS", "Application", "Result"]
