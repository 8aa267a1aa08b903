// What moves along the places of a recording: a button that plays them, and a slider.

import { el, setText } from "../dom.js";

const LONGEST_MS = 100; // that count between two drawings: a page in the background stands still

/**
 * Places count from `first` to the last one. `draw` is called with a place whenever another one is shown; it returns its
 * name, and what is read out of it. A player waits at a place until that `isReady`.
 * @param {string} name of the slider
 * @param {{
 *   first: number,
 *   lastsMs: number | ((last: number) => number),
 *   draw: (at: number, isPlaying: boolean) => [string, string],
 *   rest?: (at: number) => void,
 *   isReady?: () => boolean,
 * }} options
 */
export function playerView(name, { first, lastsMs, draw, rest, isReady = () => true }) {
  const button = el("button", { type: "button", className: "play" });
  const slider = el("input", { type: "range", min: String(first), step: "1", ariaLabel: name });
  const place = el("span", { className: "place" });
  let [at, last, shown, before, running] = [first, first, -1, 0, 0]; // `running`: the frame that is asked for, or 0

  const here = () => Math.min(Math.floor(at), last);

  /** @type {(now: number) => void} */
  function tick(now) {
    const whole = typeof lastsMs === "number" ? lastsMs : lastsMs(last);
    const passed = Math.min(Math.max(now - before, 0), LONGEST_MS); // a frame may have begun before the click
    at += (passed / whole) * (last - first);
    if (!isReady()) at = Math.min(at, shown + 0.99);
    before = now;
    if (at >= last) return pause();
    if (here() !== shown) show();
    running = requestAnimationFrame(tick);
  }
  function play() {
    if (here() >= last) at = first;
    before = performance.now();
    running = requestAnimationFrame(tick);
    show();
  }
  function pause() {
    cancelAnimationFrame(running);
    running = 0;
    at = Math.min(at, last);
    show();
    rest?.(here());
  }
  function show() {
    shown = here();
    const end = shown >= last ? "Play again" : "Play";
    setText(button, running ? "Pause" : end);
    slider.max = String(last);
    slider.value = String(shown);
    const [title, spoken] = draw(shown, running !== 0);
    slider.setAttribute("aria-valuetext", spoken);
    setText(place, title);
  }
  button.onclick = () => (running ? pause() : play());
  slider.oninput = () => {
    at = Number(slider.value);
    cancelAnimationFrame(running);
    running = 0;
    show();
  };
  slider.onchange = () => rest?.(here());

  return {
    parts: [button, slider, place],
    play,
    isPlaying: () => running !== 0,
    /** Rests at a place, as if the slider had been moved there. @type {(to: number) => void} */
    go(to) {
      cancelAnimationFrame(running);
      running = 0;
      at = Math.min(Math.max(to, first), last);
      show();
      rest?.(here());
    },
    here,
    /** Where it is, without a word to `rest`. */
    stop() {
      cancelAnimationFrame(running);
      running = 0;
    },
    /** Shows the places up to `end`; from the place `from` on, where one is given. @type {(end: number, from?: number) => void} */
    update(end, from = at) {
      last = end;
      at = from;
      show();
    },
  };
}
