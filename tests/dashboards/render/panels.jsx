// Each kind of panel, drawn by the components of @grafana/ui. One is not in that package and stands in here: the timeline,
// whose rows are drawn on Grafana's chart.
import React from "react";
import { FieldColorModeId, dateTime, getFieldDisplayName, getFieldDisplayValues } from "@grafana/data";
import { BigValue, Table, TimeSeries, UPlotChart, UPlotConfigBuilder } from "@grafana/ui";

function displayValues(panel, frames, theme) {
  const { reduceOptions } = panel.options;
  const replaceVariables = (text) => text;
  return getFieldDisplayValues({ data: frames, fieldConfig: panel.fieldConfig, reduceOptions, replaceVariables, theme });
}

function Stat({ panel, frames, theme, width, height }) {
  const [value] = displayValues(panel, frames, theme);
  const { colorMode, graphMode, justifyMode, textMode, wideLayout } = panel.options;
  const options = { colorMode, graphMode, justifyMode, textMode, disableWideLayout: !wideLayout };
  return <BigValue value={value.display} theme={theme} width={width} height={height} {...options} />;
}

function Rows({ panel, frames, width, height }) {
  const [frame] = frames;
  if (!frame || frame.length === 0) {
    return <p style={{ textAlign: "center", marginTop: height / 3 }}>{panel.fieldConfig.defaults.noValue}</p>;
  }
  const { cellHeight, sortBy } = panel.options;
  return (
    <Table
      data={frame} width={width} height={height} initialSortBy={sortBy} cellHeight={cellHeight}
      fieldConfig={panel.fieldConfig}
    />
  );
}

function Lines({ panel, frames, width, height, range }) {
  return (
    <TimeSeries
      frames={frames} width={width} height={height} timeZone="utc" legend={panel.options.legend}
      timeRange={timeRange(range)}
    />
  );
}

function timeRange([from, to]) {
  const raw = { from: dateTime(from * 1000), to: dateTime(to * 1000) };
  return { ...raw, raw };
}

function Timeline({ frames, theme, width, height, range }) {
  const rows = frames.map((frame) => ({ name: getFieldDisplayName(frame.fields[1], frame, frames), frame }));
  const names = Math.min(320, 8 * Math.max(...rows.map(({ name }) => name.length)));
  const builder = new UPlotConfigBuilder("utc");
  builder.addScale({ scaleKey: "x", isTime: true, orientation: 0, direction: 1, range: () => range.map((at) => at * 1000) });
  builder.addAxis({ scaleKey: "x", isTime: true, placement: "bottom", timeZone: "utc", theme });
  builder.setPadding([0, 8, 0, names]);
  builder.addHook("draw", (u) => rows.forEach((row, index) => drawRow(u, row, index, rows.length, theme)));
  const at = rows[0]?.frame.fields[0].values ?? [];
  return <UPlotChart data={[at]} width={width} height={height} config={builder} timeRange={timeRange(range)} />;
}

function drawRow(u, { name, frame }, index, count, theme) {
  const [time, value] = frame.fields;
  const ratio = window.devicePixelRatio;
  const each = u.bbox.height / count;
  const top = u.bbox.top + each * index + each * 0.08;
  const pen = u.ctx;
  pen.font = `${12 * ratio}px ${theme.typography.fontFamily}`;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  pen.fillStyle = theme.colors.text.primary;
  pen.fillText(name, u.bbox.left - 8 * ratio, top + each * 0.42);
  let begin = 0;
  for (let here = 1; here <= time.values.length; here++) {
    if (here < time.values.length && value.values[here] === value.values[begin]) {
      continue;
    }
    const shown = value.display(value.values[begin]);
    const left = u.valToPos(time.values[begin], "x", true);
    const right = u.valToPos(time.values[Math.min(here, time.values.length - 1)], "x", true);
    pen.fillStyle = shown.color;
    pen.fillRect(left, top, right - left, each * 0.84);
    pen.fillStyle = theme.colors.getContrastText(shown.color);
    pen.textAlign = "left";
    if (right - left > 60 * ratio) {
      pen.fillText(shown.text, left + 6 * ratio, top + each * 0.42);
    }
    begin = here;
  }
}

export const KINDS = { stat: Stat, table: Rows, timeseries: Lines, "state-timeline": Timeline };
