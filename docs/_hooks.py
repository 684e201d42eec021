"""Hooks that the build runs beyond its plugins."""

import re

_PLACEHOLDER = re.compile(r"<p>Initialize self\.\s+See help\(type\(self\)\)[^<]*</p>")


def on_page_content(html: str, **kwargs) -> str:
    """Drops the words that Python itself gives to an `__init__` that nobody wrote."""
    del kwargs
    return _PLACEHOLDER.sub("", html)
