"""A tab's chart beside the slices, in Slicer's plot view."""

from __future__ import annotations

from typing import Any

import slicer

from ContrastSynthPanel.scene import views
from ContrastSynthPanel.scene.view_keeper import ViewKeeper


class ChartView:
    """Shows one chart at a time; ``put_back`` leaves the layout as it was before."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self.chart: Any = None
        self._keeper = ViewKeeper()

    def show(self, chart: Any) -> None:
        """Show a chart, in the layout that is most like the present one and has a plot."""
        self.chart = chart
        layout = views.layout_node()
        if layout is None:  # Slicer without a main window
            return
        with self._keeper.changing(layout, "layout"):
            slicer.modules.plots.logic().ShowChartInLayout(chart)
        self.fit()

    def fit(self) -> None:
        """Fit the axes of the plot views to what they show now."""
        manager = slicer.app.layoutManager()
        for n in range(manager.plotViewCount if manager is not None else 0):
            manager.plotWidget(n).plotView().fitToContent()

    def put_back(self) -> None:
        """Go back to the layout of before, unless somebody has chosen another one since."""
        self._keeper.put_back()
        self.chart = None
