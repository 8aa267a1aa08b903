// One picture for all tiles, and a button over each: ten pictures cost one to decode.
export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const grid = parentElement.querySelector(".grid");
  const inside = grid.getRootNode();
  grid.send = setTriggerValue; // it belongs to this run of the script, and what was drawn before must use it too
  const drawn = JSON.stringify(data);
  if (grid.dataset.drawn === drawn) return; // a rerun that changes nothing here costs nothing
  const focused = inside.activeElement ? inside.activeElement.dataset.tile : undefined;

  const picture = grid.querySelector("img") || document.createElement("img");
  if (picture.src !== data.sheet) picture.src = data.sheet;
  picture.alt = "";
  const buttons = data.labels.map((label, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = label;
    button.setAttribute("aria-label", label);
    button.setAttribute("aria-pressed", String(index === data.chosen));
    button.dataset.tile = String(index);
    button.tabIndex = index === Math.max(data.chosen, 0) ? 0 : -1; // one stop of the Tab key, arrows move within
    button.onclick = () => grid.send("tile", index);
    button.onkeydown = (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -data.columns, ArrowDown: data.columns }[event.key];
      const next = buttons[by === undefined ? -1 : index + by];
      if (by !== undefined) event.preventDefault();
      if (!next) return;
      button.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    };
    return button;
  });
  grid.style.width = `${data.width}px`;
  grid.style.gridTemplateColumns = `repeat(${data.columns}, 1fr)`;
  grid.style.aspectRatio = `${data.columns} / ${data.rows}`;
  grid.setAttribute("role", "group");
  grid.setAttribute("aria-label", data.alt);
  grid.replaceChildren(picture, ...buttons);
  grid.dataset.drawn = drawn;
  if (focused !== undefined && buttons[focused]) buttons[focused].focus();
}
