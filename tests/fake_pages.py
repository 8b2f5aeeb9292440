"""A page by itself, beside a viewer with or without a window."""

from __future__ import annotations

from typing import Any

from wsss_napari.desk import desk_of

IMAGE = "im_001"


def make_page(kind: Any, viewer: Any, qtbot: Any, height: int = 1200) -> Any:
    """Make a page of a kind and show it, in the width of a dock."""
    page = kind(desk_of(viewer))
    qtbot.addWidget(page)
    page.resize(380, height)
    page.show()
    page.viewer = viewer
    return page


def opened(page: Any, project: Any) -> Any:
    """The page on an image with two tagged classes, of which the first is chosen."""
    page.session.open(project.root)
    page.session.jump(IMAGE)
    page.session.cls = project.tags().present(IMAGE)[0]
    page.enter()
    return page
