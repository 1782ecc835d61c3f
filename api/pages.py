"""The frame of the service's own pages."""

from __future__ import annotations

from html import escape

__all__ = ["page"]

_FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem;
  padding: 0 1rem; color: #1b1f24; background: #fff; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .4rem .6rem; border-bottom: 1px solid #d5dae0; }}
a {{ color: #0b5cad; }}
label {{ display: block; margin: 1rem 0 .25rem; }}
input {{ font: inherit; width: 100%; max-width: 40rem; padding: .4rem .6rem; box-sizing: border-box;
  border: 1px solid #767f8a; border-radius: .25rem; }}
button {{ font: inherit; padding: .4rem 1rem; margin-top: 1rem; border: 0; border-radius: .25rem;
  color: #fff; background: #0b5cad; cursor: pointer; }}
header {{ display: flex; justify-content: space-between; align-items: baseline; gap: 1rem; }}
header button {{ margin: 0 0 0 .5rem; }}
header form {{ margin: 0; }}
[role=alert] {{ color: #a1260d; }}
</style>
</head>
<body>
{body}</body>
</html>
"""


def page(title: str, body: str) -> str:
    """Return an HTML page.

    Args:
        title: Of the window, as plain text.
        body: HTML.
    """
    return _FRAME.format(title=escape(title), body=body)
