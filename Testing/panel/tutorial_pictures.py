"""Pictures of the panel for the manual: kept where CONTRASTSYNTH_TUTORIAL names a folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import slicer
from host import can_render, screenshot, slices

WIDTH, VIEW = 400, 320
KEPT = os.environ.get("CONTRASTSYNTH_TUTORIAL")


def see(panel, name):
    """Keep a picture of the panel beside the three slice views."""
    if not KEPT:
        return
    folder = Path(KEPT)
    folder.mkdir(parents=True, exist_ok=True)
    path = screenshot(panel.banner.window(), folder / f"{name}.png", width=WIDTH)
    if can_render():
        beside(path, views())


def views():
    """Draw what the slice views show, one below the other."""
    manager, drawn = slicer.app.layoutManager(), []
    for name in manager.sliceViewNames():
        one = manager.sliceWidget(name)
        was = one.mrmlSliceNode().GetDimensions()
        centre = [one.mrmlSliceNode().GetSliceToRAS().GetElement(row, 3) for row in range(3)]
        one.mrmlSliceNode().SetDimensions(VIEW, VIEW, 1)
        one.sliceLogic().FitSliceToBackground()
        one.mrmlSliceNode().JumpSliceByOffsetting(*centre)
        drawn.append(slices.render(one.sliceLogic(), one.mrmlSliceNode(), VIEW))
        one.mrmlSliceNode().SetDimensions(*was)
    return np.vstack(drawn)


def beside(path, picture):
    """Paste a picture to the right of another one."""
    from PySide6.QtGui import QColor, QImage, QPainter

    left = QImage(str(path))
    height, width = picture.shape[:2]
    data = np.ascontiguousarray(picture)
    right = QImage(data.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    whole = QImage(
        left.width() + 12 + width, max(left.height(), height), QImage.Format.Format_RGB32
    )
    whole.fill(QColor("#ffffff"))
    painter = QPainter()
    painter.begin(whole)
    painter.drawImage(0, 0, left)
    painter.drawImage(left.width() + 12, 0, right)
    painter.end()
    assert whole.save(str(path))
