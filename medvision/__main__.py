"""``python -m medvision``: the same as the command ``medvision``."""

from medvision.cli import main

main()
