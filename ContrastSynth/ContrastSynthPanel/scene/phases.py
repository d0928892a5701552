"""The phases of a sequence: the one that is shown, and when each was taken."""

import math

import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.acquisition import HEADER_PREFIX
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.series import SECONDS_PER
from ContrastSynthPanel.scene import bridge
from ContrastSynthPanel.scene.bridge import Node

TIME = f"{HEADER_PREFIX}time_s"


def shown_phase(sequence: Node) -> int:
    """Return the number, from 0, of the phase that the browser shows."""
    browser = bridge.browser_of(sequence)
    return _same_place(browser.GetMasterSequenceNode(), browser.GetSelectedItemNumber(), sequence)


def show_phase(sequence: Node, number: int) -> None:
    """Let the browser show a phase: all views that show the sequence follow."""
    browser = bridge.browser_of(sequence)
    browser.SetSelectedItemNumber(_same_place(sequence, number, browser.GetMasterSequenceNode()))


def _same_place(sequence: Node, number: int, other: Node) -> int:
    """Return the item of another sequence, in the same browser, that goes with an item."""
    if other is sequence:
        return number
    if other is None or sequence is None or number < 0:  # one of them was deleted
        return -1
    return other.GetItemNumberFromIndexValue(sequence.GetNthIndexValue(number), False)


def has_no_unit(sequence: Node) -> bool:
    """Return whether all that is missing for times is what the index counts."""
    numeric = sequence.GetIndexType() == sequence.NumericIndex
    return numeric and sequence.GetIndexUnit() not in SECONDS_PER


def check_time(sequence: Node, number: int, time_s: float) -> None:
    """Raise RequestError unless a phase taken then would keep its place among the others."""
    times = bridge.times_of_sequence_node(sequence)
    low = times[number - 1] if number else -math.inf
    high = times[number + 1] if number + 1 < len(times) else math.inf
    if low < time_s < high:
        return
    text = _(
        "{name}: phase {number} cannot be at {time:g} s. The times must increase: {expected}. "
        "Nothing was changed; correct the other phase first if that one is wrong."
    )
    after = _("after {low:g} s").format(low=low) if number else ""
    before = _("before {high:g} s").format(high=high) if high < math.inf else ""
    expected = _(" and ").join(filter(None, [after, before])) or _("a number of seconds")
    raise RequestError(
        text.format(name=sequence.GetName(), number=number + 1, time=time_s, expected=expected)
    )


def set_time(sequence: Node, number: int, time_s: float) -> None:
    """Write when a phase was taken, in the unit of the sequence; errors as in check_time."""
    check_time(sequence, number, time_s)
    value = time_s / SECONDS_PER[sequence.GetIndexUnit()]
    sequence.UpdateIndexValue(sequence.GetNthIndexValue(number), f"{value:.12g}")
    frame = sequence.GetNthDataNode(number)
    if frame.GetAttribute(TIME) is not None:
        frame.SetAttribute(TIME, f"{time_s:.12g}")
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(bridge.browser_of(sequence))
