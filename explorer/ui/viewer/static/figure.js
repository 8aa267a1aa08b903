// The buttons that save a chart of Plotly as the page shows it. Streamlit draws the chart, in the same container.

import { el, once } from "./dom.js";
import { saveButtons } from "./picture_tools.js";

const CONTAINER = '[class*="st-key-figure-"]'; // of `charts.py`

/** @param {HTMLElement} root */
function toolsView(root) {
  /** @type {FigureData} */
  let shown;
  const subject = () => {
    const top = root.getRootNode();
    const place = top instanceof ShadowRoot ? top.host : root;
    const chart = place.closest(CONTAINER)?.querySelector(".js-plotly-plot");
    if (!chart) throw new Error("the chart is not drawn yet");
    return { parts: [chart], caption: shown.caption };
  };
  const tools = el("div", { className: "picture-tools" });
  root.append(tools);
  return (/** @type {FigureData} */ data) => {
    if (shown?.name !== data.name) tools.replaceChildren(...saveButtons(root, data.name, subject));
    shown = data;
  };
}

/** @type {(component: Component<FigureData>) => void} */
export function figure({ data, parentElement }) {
  once(parentElement, ".figure", toolsView)(data);
}
