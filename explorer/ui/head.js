// The head of the chosen layer: which layer it is, how opaque overlays are, and what shares a colour scale. It is the
// one component that the server tells the view, and that tells the server.
const SCOPES = { layer: "layer", network: "network", both: "all" };

function build(root, data) {
  const heading = make("h3", {});
  const select = make("select", { id: "layer", onchange: () => change({ layer: select.value, channel: null }) });
  select.append(...data.layers.map((name) => make("option", { value: name }, name)));
  const percent = make("output", { htmlFor: "opacity" });
  const opacity = make("input", {
    id: "opacity",
    type: "range",
    min: "0",
    max: "100",
    oninput: () => change({ opacity: Number(opacity.value) }),
  });
  const scopes = Object.entries(SCOPES).map(([scope, label]) => {
    const radio = make("input", { type: "radio", name: "scope", value: scope, onchange: () => change({ scope }) });
    return make("label", {}, radio, make("span", {}, label));
  });
  const group = { className: "scopes", role: "radiogroup", ariaLabel: "One colour scale for each", title: data.help };
  const choice = make("div", { className: "field" }, make("span", {}, group.ariaLabel), make("div", group, ...scopes));
  root.replaceChildren(
    heading,
    make(
      "div",
      { className: "controls" },
      make("div", { className: "field" }, make("label", { htmlFor: "layer" }, "Layer"), select),
      make("div", { className: "field" }, make("label", { htmlFor: "opacity" }, "Opacity of the overlay, %"), make("div", { className: "slider" }, opacity, percent)),
      choice,
    ),
  );
  root.update = () => {
    const { layer, scope } = depth.view;
    const words = `Layer ${layer}`;
    if (heading.textContent !== words) heading.textContent = words;
    if (select.value !== layer) select.value = layer;
    const value = String(depth.view.opacity);
    if (opacity.value !== value) opacity.value = value;
    if (percent.value !== value) percent.value = value;
    for (const label of scopes) {
      const on = label.firstChild.value === scope;
      if (label.firstChild.checked !== on) label.firstChild.checked = on;
    }
  };
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".head");
  // It belongs to this run of the script. A slider that is dragged does not ask for every step.
  const tell = (view) => {
    clearTimeout(depth.later);
    depth.later = setTimeout(() => setTriggerValue("view", view), 0);
  };
  depth.send = tell;
  const layers = data.layers.join();
  if (root.layers !== layers) {
    root.layers = layers;
    build(root, data);
  }
  follow(data.view, data.id);
  depth.parts.set("head", root.update);
  root.update();
  show();
  return () => {
    if (depth.parts.get("head") === root.update) depth.parts.delete("head");
    if (depth.send === tell) depth.send = null;
  };
}
