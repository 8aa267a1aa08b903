// The film on a page that the server draws: it hears of one step after the other, each once the one before is drawn.

import { find, once } from "./dom.js";
import { filmView } from "./views/film.js";

/**
 * Sends the newest of many steps once the page shows the one before.
 * @param {(asked: FilmChoice) => void} send
 */
export function pacedSteps(send) {
  let [sent, asking] = [0, 0]; // numbers of the newest choice, and of the one that the page was asked for last
  let known = 0; // of the last choice that the page has heard of
  /** @type {FilmChoice | null} */
  let waiting = null;
  function flush() {
    if (!waiting || known < asking) return;
    const asked = waiting;
    waiting = null;
    asking = asked.number;
    send(asked);
  }
  return {
    /** @type {(step: number | null, plays: boolean) => void} */
    ask(step, plays) {
      sent += 1;
      waiting = { step, plays, number: sent };
      flush();
    },
    /** The page has heard of the choice of that number; whether it shows the newest one. @type {(heard: number) => boolean} */
    heard(heard) {
      if (heard < known) asking = heard; // a new session, after a lost connection, has heard of nothing
      known = heard;
      sent = Math.max(sent, heard); // of an earlier visit of the page
      flush();
      return known >= asking && !waiting;
    },
  };
}

const LOOK_MS = 50; // between two looks whether the page's images are there
const PATIENCE_MS = 5000;

/**
 * Calls `then` when the images of the page have loaded: the server forgets them with the next run of the page.
 * @param {() => void} then
 */
function whenImagesAreThere(then) {
  const until = performance.now() + PATIENCE_MS;
  const look = () => {
    const missing = [...document.images].some((image) => !image.complete);
    if (missing && performance.now() < until) setTimeout(look, LOOK_MS);
    else then();
  };
  setTimeout(look, LOOK_MS); // the page inserts its images after this component's update
}

/** @type {(root: HTMLElement) => {update: (data: FilmData, send: (asked: FilmChoice) => void) => void, stop: () => void}} */
function pagedFilm(root) {
  let send = (/** @type {FilmChoice} */ _) => {};
  const pace = pacedSteps((asked) => send(asked));
  const film = filmView(find(root, ".film"), (step, how) => pace.ask(step, how === "plays"));
  return {
    update(data, now) {
      send = now;
      whenImagesAreThere(() => {
        if (pace.heard(data.heard)) film.draw(data.film, data.step, true);
      });
    },
    stop: film.stop,
  };
}

/** @type {(component: Component<FilmData>) => () => void} */
export function paged_film({ data, parentElement, setTriggerValue }) {
  const { update, stop } = once(parentElement, ".paged", pagedFilm);
  update(data, (asked) => setTriggerValue("step", asked));
  return stop;
}
