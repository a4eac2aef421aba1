"""pydicom and highdicom without their words: these repeat values, which may be identities."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom's warnings and log lines to itself inside the block."""
    logger = logging.getLogger("pydicom")
    before = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


@contextmanager
def quiet_highdicom() -> Iterator[None]:
    """Keep the warnings and log lines of highdicom, and pydicom's below it, to themselves."""
    logger, nowhere = logging.getLogger("highdicom"), logging.NullHandler()
    before = logger.propagate
    logger.addHandler(nowhere)  # its modules have loggers of their own below this one
    logger.propagate = False
    try:
        with quiet_pydicom():
            yield
    finally:
        logger.propagate = before
        logger.removeHandler(nowhere)
