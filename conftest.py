"""Hooks for all tests. Here and not in tests/, because notebooks/ is tested too."""

import pytest


def pytest_collectstart(collector):
    """Don't compare what differs between machines: pictures, messages on stderr, HTML, scripts."""
    if hasattr(collector, "skip_compare"):                      # a notebook, collected by nbval
        collector.skip_compare += ("stderr", "text/html", "image/png", "application/javascript")


def pytest_runtest_setup(item):
    """Skip tests marked `gpu` where there is none."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
