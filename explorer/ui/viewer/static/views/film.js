// The film of a training: a slider along the steps whose weights are kept, and a button that plays them.

import { reached } from "../charts/ticks.js";
import { el, setText, toggle } from "../dom.js";
import { playerView } from "../training/player.js";

const FRAME_MS = 400;
const CALM_MS = 1200; // a frame where a person wants little motion

/** The step at a place of the slider: null behind the last one that is kept, for the finished networks. @type {(film: Film, at: number) => number | null} */
export const stepAt = ({ steps }, at) => steps[at] ?? null;

/** The place of a step, or of the last one before it. @type {(film: Film, step: number | null) => number} */
export const placeOf = ({ steps }, step) => (step === null ? steps.length : Math.max(0, reached(steps, step) - 1));

/** @type {(film: Film, at: number) => string} */
export function placeText({ steps, last }, at) {
  const number = (steps[at] ?? last).toLocaleString("en");
  return at < steps.length ? `Step ${number} of ${last.toLocaleString("en")}` : `Step ${number}: the finished network`;
}

/**
 * `choose` says which step a person wants to see, and whether it is one of a film, one of a moving hand, or where they rest.
 * The function that is returned says what the film is, null for none, which step is wanted and whether that is drawn.
 * @type {(root: HTMLElement, choose: (step: number | null, how: "plays" | "moves" | "rests") => void) => {
 *   draw: (film: Film | null, step: number | null, isReady: boolean, failed?: boolean) => void,
 *   isPlaying: () => boolean,
 *   stop: () => void,
 * }}
 */
export function filmView(root, choose) {
  /** @type {Film | null} */
  let film = null;
  let place = -1; // that is wanted
  let ready = true;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const player = playerView("Step of the training", {
    first: 0,
    lastsMs: (last) => last * (calm.matches ? CALM_MS : FRAME_MS),
    draw(at, isPlaying) {
      if (!film) return ["", ""];
      if (at !== place) {
        [place, ready] = [at, false];
        choose(stepAt(film, at), isPlaying ? "plays" : "moves");
      }
      const text = placeText(film, at);
      return [text, text];
    },
    rest: (at) => film && choose(stepAt(film, at), "rests"),
    isReady: () => ready,
  });
  const ticks = el("datalist", { id: "kept-steps" });
  const [button, slider] = player.parts;
  button.title = "Plays the training: everything on this page at one kept step after the other";
  slider.setAttribute("list", ticks.id);
  const note = el("p", { className: "hint" });
  root.replaceChildren(el("div", { className: "controls" }, ...player.parts), ticks, note);
  let built = "";
  return {
    draw(next, step, isReady, failed = false) {
      const text = JSON.stringify(next);
      toggle(root, next !== null);
      if (!next) {
        player.stop();
        [film, built] = [null, text];
        return;
      }
      const wanted = placeOf(next, step);
      if (built !== text || wanted !== place || (failed && player.isPlaying())) {
        player.stop();
        if (built !== text) {
          ticks.replaceChildren(...Array.from({ length: next.steps.length + 1 }, (_, at) => el("option", { value: String(at) })));
          setText(note, next.note);
        }
        [film, built, place] = [next, text, wanted];
        player.update(next.steps.length, wanted);
      }
      ready = isReady;
    },
    isPlaying: player.isPlaying,
    stop: player.stop,
  };
}
