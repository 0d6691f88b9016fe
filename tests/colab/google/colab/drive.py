"""Google Drive as a plain folder."""

from pathlib import Path


def mount(mountpoint: str, force_remount: bool = False) -> None:
    """Make `MyDrive` below `mountpoint`, as a mounted Drive has it."""
    Path(mountpoint, "MyDrive").mkdir(parents=True, exist_ok=True)
    print(f"Mounted at {mountpoint}")
