// A picture file: chosen, dropped or pasted.

import { alertBox, el, setText } from "../dom.js";

const TYPES = ".jpg,.jpeg,.png,.gif,.bmp,.webp,.tif,.tiff,image/*";

/** @type {(root: HTMLElement, choose: (file: File) => void) => (state: State, data: { limit: number; }) => void} */
export function uploadView(root, choose) {
  const input = el("input", { type: "file", id: "file", accept: TYPES });
  const limit = el("span", { className: "limit", id: "limit" });
  input.setAttribute("aria-describedby", "limit");
  const zone = el("div", { className: "zone" }, input, el("span", {}, "or drop it here, or paste it"), limit);
  const status = el("p", { className: "status", role: "status" });
  const alert = alertBox();
  root.replaceChildren(el("label", { htmlFor: "file" }, "A photo or drawing"), zone, status, alert.box);

  /** @type {(files: FileList | null | undefined) => void} */
  const take = (files) => {
    if (files?.length) choose(files[0]);
  };
  input.onchange = () => take(input.files);
  zone.ondragover = (event) => {
    event.preventDefault();
    zone.classList.add("over");
  };
  zone.ondragleave = () => zone.classList.remove("over");
  zone.ondrop = (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    take(event.dataTransfer?.files);
  };

  /** @type {(state: State, data: {limit: number}) => void} */
  return (state, { limit: megabytes }) => {
    const formats = `JPEG, PNG, GIF, BMP, WEBP or TIFF, up to 50 megapixels and ${megabytes} MB.`;
    setText(limit, `${formats} It stays in the memory of your session and leaves it with you.`);
    setText(status, state.uploading ? `Reading ${state.uploading}` : "");
    alert.show(state.uploadError);
  };
}
