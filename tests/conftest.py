"""Tests leave nothing in the user's cache."""

import os


def pytest_configure():
    os.environ["MEDVISION_INDEX"] = "off"
