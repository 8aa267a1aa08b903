// One part of a training that is watched: its data come anew with each report.
const PARTS = { curves: charts, map: charts, predictions, cams };

export default function (component) {
  const root = component.parentElement.querySelector(".live");
  root.live ??= PARTS[component.data.kind](root);
  root.live(component.data);
}
