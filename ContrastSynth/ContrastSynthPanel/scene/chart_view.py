"""A tab's chart beside the slices, in Slicer's plot view."""

import slicer


class ChartView:
    """Shows one chart at a time; ``put_back`` leaves the layout as it was before."""

    def __init__(self):
        """Show nothing yet."""
        self.chart = None
        self._before, self._made = None, None

    def show(self, chart) -> None:
        """Show a chart, in the layout that is most like the present one and has a plot."""
        self.chart = chart
        manager = slicer.app.layoutManager()
        if manager is None:  # Slicer without a main window
            return
        before = manager.layout
        slicer.modules.plots.logic().ShowChartInLayout(chart)
        if manager.layout != before:
            self._before, self._made = before, manager.layout
        self.fit()

    def fit(self) -> None:
        """Fit the axes of the plot views to what they show now."""
        manager = slicer.app.layoutManager()
        for n in range(manager.plotViewCount if manager is not None else 0):
            manager.plotWidget(n).plotView().fitToContent()

    def put_back(self) -> None:
        """Go back to the layout of before, unless somebody has chosen another one since."""
        manager, before = slicer.app.layoutManager(), self._before
        if manager is not None and before is not None and manager.layout == self._made:
            manager.setLayout(before)
        self.chart, self._before, self._made = None, None, None
