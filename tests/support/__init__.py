"""What several tests share: real repositories, services, walls, browsers; and the samples."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
