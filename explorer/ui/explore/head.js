// The head of the chosen layer: which layer it is, how opaque overlays are, and what shares a colour scale. Here the
// server says what the view is.
const SCOPES = {
  layer: ["layer", "The two networks can be compared at one layer."],
  network: ["network", "The layers of one network can be compared."],
  both: ["all", "One scale for everything; weak layers then look empty."],
};
const DRAGGED = 200; // milliseconds: who drags a slider does not ask for every step

function build(root, layers) {
  const heading = make("h3", {});
  const select = make("select", { id: "layer", onchange: () => change({ layer: select.value, channel: null }) });
  select.append(...layers.map((name) => make("option", { value: name }, name)));
  const percent = make("output", { htmlFor: "opacity" });
  const moved = (wait) => () => change({ opacity: Number(opacity.value) }, wait);
  const opacity = make("input", { id: "opacity", type: "range", min: "0", max: "100", oninput: moved(DRAGGED), onchange: moved(0) });
  const scopes = Object.entries(SCOPES).map(([scope, [label]]) => {
    const radio = make("input", { type: "radio", name: "scope", value: scope, onchange: () => change({ scope }) });
    return make("label", {}, radio, make("span", {}, label));
  });
  const meaning = make("span", { id: "meaning", className: "meaning" });
  const group = make("div", { className: "scopes", role: "radiogroup", ariaLabel: "One colour scale for each" }, ...scopes);
  group.setAttribute("aria-describedby", "meaning");
  root.replaceChildren(
    heading,
    make(
      "div",
      { className: "controls" },
      make("div", { className: "field" }, make("label", { htmlFor: "layer" }, "Layer"), select),
      make("div", { className: "field" }, make("label", { htmlFor: "opacity" }, "Opacity of the overlay, %"), make("div", { className: "slider" }, opacity, percent)),
      make("div", { className: "field" }, make("span", {}, "One colour scale for each"), make("div", { className: "choice" }, group, meaning)),
    ),
  );
  return () => {
    const { layer, scope } = depth.view;
    say(heading, `Layer ${layer}`);
    if (select.value !== layer) select.value = layer;
    const value = String(depth.view.opacity);
    if (opacity.value !== value) opacity.value = value;
    if (percent.value !== value) percent.value = value;
    say(meaning, SCOPES[scope][1]);
    for (const label of scopes) label.firstChild.checked = label.firstChild.value === scope;
  };
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".head");
  const layers = data.layers.join();
  if (root.layers !== layers) {
    root.layers = layers;
    root.update = build(root, data.layers);
  }
  const part = () => root.update();
  const send = (view) => setTriggerValue("view", view);
  depth.parts.set("head", part);
  depth.send = send;
  if (root.data !== data) follow(data);
  root.data = data;
  part(); // it needs no drawing
  show();
  return () => {
    if (depth.parts.get("head") === part) depth.parts.delete("head");
    if (depth.send === send) depth.send = null;
  };
}
