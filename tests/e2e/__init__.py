"""Tests in a real browser. A package, so that its server and its Chromium end with the last of its tests."""
