"""Writes the three dashboards of Grafana beside this file, from what `monitoring.grafana.panels` says: `make dashboards`.

No part of a running Evergreen: it wants the Grafana Foundation SDK, which only `requirements-dev.txt` has. A test compares the files with
what this would write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as StatBuilder
from grafana_foundation_sdk.builders.timeseries import Panel as GraphBuilder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

from monitoring.grafana.panels import DASHBOARDS, Names, Panel, Stat

FOLDER = Path(__file__).parent
DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
STAT_HEIGHT, GRAPH_HEIGHT = 4, 8
BAND: Mapping[str, Mapping[str, object]] = {
    "high": {"custom.fillBelowTo": "low", "custom.lineWidth": 1, "custom.fillOpacity": 15},
    "threshold": {"custom.lineStyle": {"fill": "dash"}, "color": {"mode": "fixed", "fixedColor": "red"}},
    "baseline": {"custom.lineStyle": {"fill": "dash"}, "color": {"mode": "fixed", "fixedColor": "text"}},
}  # how lines of these names are drawn, wherever they are


def built(panel: Panel) -> StatBuilder | GraphBuilder:
    """Return the SDK's builder of a panel."""
    builder: StatBuilder | GraphBuilder
    if isinstance(panel, Stat):
        mode = common.BigValueTextMode.NAME if isinstance(panel, Names) else common.BigValueTextMode.VALUE_AND_NAME
        builder = StatBuilder().text_mode(mode).graph_mode(common.BigValueGraphMode.NONE).height(STAT_HEIGHT)
        builder.reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    else:
        style = common.GraphThresholdsStyleMode.DASHED if panel.limits else common.GraphThresholdsStyleMode.OFF
        legend = common_builders.VizLegendOptions().display_mode(common.LegendDisplayMode.LIST).placement(common.LegendPlacement.BOTTOM)
        builder = GraphBuilder().fill_opacity(0).show_points(common.VisibilityMode.AUTO).height(GRAPH_HEIGHT)
        builder.thresholds_style(common_builders.GraphThresholdsStyleConfig().mode(style)).legend(legend.show_legend(True))
        builder.tooltip(common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
        for name, properties in BAND.items():
            if name in {legend for _, legend in panel.queries}:
                builder.override_by_name(name, [models.DynamicConfigValue(key, value) for key, value in properties.items()])
    for number, (expr, legend_format) in enumerate(panel.queries):
        query = Dataquery().expr(expr).legend_format(legend_format).ref_id(chr(ord("A") + number)).datasource(DATASOURCE)
        builder.with_target(query.instant() if isinstance(panel, Stat) else query.range())
    builder.title(panel.title).description(described(panel)).unit(panel.unit).datasource(DATASOURCE).span(panel.width)
    builder.links([runbook(name) for name in panel.runbooks])
    return builder.thresholds(builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps(panel)))


def runbook(alert: str) -> builders.DashboardLink:
    """Return the link to the section of an alert."""
    return builders.DashboardLink(alert).type(models.DashboardLinkType.LINK).url(f"${{runbooks}}#{alert.lower()}").target_blank(True)


def described(panel: Panel) -> str:
    """Return the sentence of a panel, with the alerts that tell of the same."""
    return f"{panel.meaning} Runbook: {', '.join(panel.runbooks)}." if panel.runbooks else panel.meaning


def steps(panel: Panel) -> list[models.Threshold]:
    """Return the colours of a panel: green, and red beyond (or up to) its limits, orange before the last of several."""
    if panel.is_bad_below:
        return [models.Threshold(None, "red"), *(models.Threshold(limit, "green") for limit in panel.limits)]
    colours = ["orange"] * (len(panel.limits) - 1) + ["red"]
    return [models.Threshold(None, "green"), *map(models.Threshold, panel.limits, colours)]


def variables(name: str) -> Iterable[builders.DatasourceVariable | builders.QueryVariable | builders.TextBoxVariable]:
    """Return the variables of a dashboard: the data source, where the runbooks are read, and the model."""
    yield builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    if name == "model":
        asked = builders.QueryVariable("model").label("Model").datasource(DATASOURCE).query("label_values(evergreen_verdict, model)")
        yield asked.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)
    place = builders.TextBoxVariable("runbooks").label("Runbooks at").default_value("docs/runbooks.md")
    yield place.description("The address under which your copy of docs/runbooks.md is read.")


def dashboard(name: str) -> str:
    """Return the text of one dashboard's file."""
    title, rows = DASHBOARDS[name]
    others = builders.DashboardLink("Evergreen").type(models.DashboardLinkType.DASHBOARDS).tags(["evergreen"])
    others.as_dropdown(True).keep_time(True)
    board = builders.Dashboard(title).uid(f"evergreen-{name}").tags(["evergreen"]).refresh("30s").time("now-6h", "now").link(others)
    board.editable().tooltip(models.DashboardCursorSync.CROSSHAIR).timezone("browser")
    board.description("Written by `make dashboards` from monitoring/grafana/panels.py: change it there.")
    for variable in variables(name):
        board.with_variable(variable)
    for heading, panels in rows.items():
        board.with_row(builders.Row(heading))
        for panel in panels:
            board.with_panel(built(panel))
    return JSONEncoder(sort_keys=True, indent=1).encode(board.build()) + "\n"


def main() -> None:
    """Write the three files."""
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(dashboard(name), encoding="utf-8")


if __name__ == "__main__":
    main()
