"""The browser and the service of `fixtures.py`, for the tests here."""

from tests.browser.fixtures import chromium, house

__all__ = ["chromium", "house"]
