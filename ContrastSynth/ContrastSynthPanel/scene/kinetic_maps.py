"""Maps of how each voxel takes up and loses the agent, of a series and of the synthetic one.

Each is a node of the scene, known by the series that it was computed from, drawn in colours that
the colour-blind can distinguish over the phase that the slice views show.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.analysis.kinetic_maps import (
    MARK,
    TYPE,
    TYPE_COLOURS,
    TYPE_TITLES,
    kinetic_maps,
    most_rising,
)
from ContrastSynthLib.analysis.kinetics import Timing, curve_timing, mean_curve
from ContrastSynthLib.analysis.kinetics_report import SAME_TIME_S
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import SYNTHETIC_KEY
from ContrastSynthLib.volumes import BoolArray, Volume, times_of
from ContrastSynthPanel.background import Elsewhere
from ContrastSynthPanel.scene import bridge, colours, relations, views
from ContrastSynthPanel.scene.bridge import LABEL_MAP, VOLUME
from ContrastSynthPanel.scene.foregrounds import brain_of, marked
from ContrastSynthPanel.scene.kinetic_case import SERIES, SYNTHETIC, Asked
from ContrastSynthPanel.scene.kinetic_results import is_made, reading
from ContrastSynthPanel.scene.result_names import give_name
from ContrastSynthPanel.scene.view_keeper import ViewKeeper

Node = Any  # of MRML
NO_MAP = "none"
REGION, WHOLE = "region", "whole"  # over what a map is computed
# Before the agent, air and suppressed fat are below this share of the bright tissue.
AIR_SHARE, BRIGHT_PERCENT = 0.2, 95
OF_ENHANCING = ("signal_enhancement_ratio", "delayed_change")  # elsewhere they are noise
