// A picture file: chosen, dropped or pasted.

import { coded, el, setText, toggle } from "../dom.js";

const TYPES = ".jpg,.jpeg,.png,.gif,.bmp,.webp,.tif,.tiff,image/*";

/** @type {(root: HTMLElement, choose: (file: File) => void) => (state: State, data: { help: string; }) => void} */
export function uploadView(root, choose) {
  const input = el("input", { type: "file", id: "file", accept: TYPES });
  const limit = el("span", { className: "limit", id: "limit" });
  input.setAttribute("aria-describedby", "limit");
  const zone = el("div", { className: "zone" }, input, el("span", {}, "or drop it here, or paste it"), limit);
  const status = el("p", { className: "status" });
  const alert = el("p", { className: "alert", role: "alert", hidden: true });
  status.setAttribute("role", "status");
  root.replaceChildren(el("label", { htmlFor: "file" }, "A photo or drawing"), zone, status, alert);
  let shown = "";

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

  /** @type {(state: State, data: {help: string}) => void} */
  return (state, { help }) => {
    setText(limit, help);
    setText(status, state.uploading ? `Reading ${state.uploading}` : "");
    toggle(alert, state.uploadError !== "");
    if (shown !== state.uploadError) alert.replaceChildren(...coded(state.uploadError));
    shown = state.uploadError;
  };
}
