// What Prometheus has answered, as data frames with the panel's field config: the way Grafana's own panels get them.
import {
  FieldConfigOptionsRegistry,
  FieldType,
  applyFieldOverrides,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  identityOverrideProcessor,
  numberOverrideProcessor,
  standardTransformers,
  standardTransformersRegistry,
  thresholdsOverrideProcessor,
  toDataFrame,
  transformDataFrame,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from "@grafana/data";
import { firstValueFrom } from "rxjs";

standardTransformersRegistry.setInit(() =>
  [...new Set(Object.values(standardTransformers))].map((each) => ({ id: each.id, name: each.name, transformation: each, editor: () => null })),
);

const STANDARD = {
  unit: unitOverrideProcessor,
  displayName: displayNameOverrideProcessor,
  mappings: valueMappingsOverrideProcessor,
  thresholds: thresholdsOverrideProcessor,
  links: dataLinksOverrideProcessor,
  min: numberOverrideProcessor,
  max: numberOverrideProcessor,
  color: identityOverrideProcessor,
  noValue: identityOverrideProcessor,
};
const CUSTOM = [
  "align", "cellOptions", "filterable", "inspect", "width", "drawStyle", "lineWidth", "fillOpacity", "showPoints",
  "pointSize", "spanNulls", "axisSoftMin", "axisSoftMax", "stacking", "lineStyle", "scaleDistribution",
];

const registry = new FieldConfigOptionsRegistry(() => [
  ...Object.entries(STANDARD).map(([id, process]) => item(id, id, false, process)),
  ...CUSTOM.map((id) => item(`custom.${id}`, id, true, identityOverrideProcessor)),
]);

function item(id, path, isCustom, process) {
  const more = { override: () => null, editor: () => null, shouldApply: () => true, getItemsCount: () => 0 };
  return { id, path, isCustom, process, name: id, ...more };
}

// Frames of one target: one for each series with its legend, or one table of labels and values.
function framesOf(target, answer, several) {
  if (target.format !== "table") {
    return answer.map(({ metric, values }) => seriesFrame(target, metric, values));
  }
  const labels = [...new Set(answer.flatMap(({ metric }) => Object.keys(metric)))].sort();
  const rows = answer.map(({ metric, values }) => ({ metric, point: values[values.length - 1] }));
  const text = labels.map((name) => field(name, FieldType.string, rows.map(({ metric }) => metric[name] ?? "")));
  const time = field("Time", FieldType.time, rows.map(({ point }) => point[0] * 1000));
  const name = several ? `Value #${target.refId}` : "Value";
  const value = field(name, FieldType.number, rows.map(({ point }) => Number(point[1])));
  return [toDataFrame({ refId: target.refId, fields: [time, ...text, value] })];
}

function seriesFrame(target, metric, values) {
  const legend = target.legendFormat.replace(/\{\{(\w+)\}\}/g, (_, label) => metric[label] ?? "").trim();
  const time = field("Time", FieldType.time, values.map(([at]) => at * 1000));
  const value = field("Value", FieldType.number, values.map(([, number]) => Number(number)));
  value.labels = metric;
  value.config = { displayNameFromDS: legend };
  return toDataFrame({ refId: target.refId, name: legend, fields: [time, value] });
}

function field(name, type, values) {
  return { name, type, values, config: {} };
}

export async function framesFor(panel, answers, theme) {
  const raw = panel.targets.flatMap((target, index) => framesOf(target, answers[index], panel.targets.length > 1));
  const data = await firstValueFrom(transformDataFrame(panel.transformations, raw, { interpolate: (text) => text }));
  const replaceVariables = (text) => text;
  const { fieldConfig } = panel;
  return applyFieldOverrides({ data, fieldConfig, replaceVariables, theme, timeZone: "utc", fieldConfigRegistry: registry });
}
