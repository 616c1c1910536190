"""Applications that pass their warm-up, or fail it in one way or another."""

from __future__ import annotations

PAGES = """\
import os
from app import Root

class Pages(Root):
    def render(self, request):
        with open("asked", "a") as asked:
            asked.write(f"{os.getpid()} {request.path.decode()}\\n")
        if request.path == b"/ready":
            return self.ready(request)
        return super().render(request)
    def ready(self, request):
        READY

app = Pages()
"""
WELL = PAGES.replace("READY", "return b'well'")
DOWN = PAGES.replace("READY", "request.setResponseCode(503); return b'the database\\nis down'")
SILENT = PAGES.replace("READY", "return 1")
BROKEN = PAGES.replace("READY", "raise RuntimeError('no such table')")
