// The photos and rendered scenes that every machine has, as a gallery.

import { el, focusedIn, moveWithKeys, setTabStop, update } from "../dom.js";

const COLUMNS = 3;

/** `choose` takes the name of a picture. @type {(root: HTMLElement, photos: BarData["photos"], choose: (picture: string) => void) => (picture: string) => void} */
export function photosView(root, photos, choose) {
  const tiles = photos.map(({ name, title, source }) => {
    // Lazy: fetched when the gallery is opened.
    const picture = el("img", { alt: title, loading: "lazy", src: new URL(`api/photo/${name}`, document.baseURI).href });
    const words = el("span", { ariaHidden: "true" }, title);
    return el("button", { type: "button", className: "tile", title: source, onclick: () => choose(name) }, picture, words);
  });
  moveWithKeys(tiles, COLUMNS);
  const grid = el("div", { className: "grid", role: "group", ariaLabel: "Photos and rendered scenes" }, ...tiles);
  const sources = [...new Set(photos.map(({ source }) => source))].map((source) => el("p", { className: "limit" }, source));
  root.replaceChildren(el("p", {}, "Photos and rendered scenes"), grid, ...sources);
  return (picture) => {
    tiles.forEach((tile, index) => {
      update(tile, { ariaPressed: String(photos[index].name === picture) });
    });
    const chosen = photos.findIndex(({ name }) => name === picture);
    if (!tiles.some((tile) => tile === focusedIn(root))) setTabStop(tiles, tiles[Math.max(chosen, 0)]);
  };
}

/** The photo behind that one, the first behind the last; undefined where it is none. @type {(photos: BarData["photos"], picture: string) => string | undefined} */
export function nextPhoto(photos, picture) {
  const index = photos.findIndex(({ name }) => name === picture);
  return index < 0 ? undefined : photos[(index + 1) % photos.length].name;
}
