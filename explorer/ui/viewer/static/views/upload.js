// Picture files: chosen, dropped or pasted.

import { alertBox, el, setText, toggle } from "../dom.js";
import { SHEET_FILES } from "../store.js";

// A phone greys out what has no type of these; it knows none for DICOM.
const TYPES =
  "image/*,.jpg,.jpeg,.jfif,.png,.gif,.bmp,.webp,.tif,.tiff,.heic,.heif,.hif,.avif,.dcm,.dicom,.dic,.ima,application/dicom,application/octet-stream";

const NO_PICTURE = "The clipboard gives no image. Copy one and allow it, or press Ctrl+V.";

/** The pictures in the clipboard. @type {() => Promise<File[]>} */
async function copiedPictures() {
  try {
    const found = (await navigator.clipboard.read()).flatMap((item) => {
      const type = item.types.find((each) => each.startsWith("image/"));
      return type ? [item.getType(type).then((blob) => new File([blob], `pasted.${type.slice(6)}`, { type }))] : [];
    });
    return await Promise.all(found);
  } catch {
    return []; // the person or the browser allows none
  }
}

/** @type {(root: HTMLElement, choose: (files: File[]) => void) => (state: State, data: { limit: number; }) => void} */
export function uploadView(root, choose) {
  const input = el("input", { type: "file", id: "file", accept: TYPES, multiple: true });
  const limit = el("span", { className: "limit", id: "limit" });
  input.setAttribute("aria-describedby", "limit");
  const pasting = el("button", { type: "button" }, "Paste");
  toggle(pasting, Boolean(navigator.clipboard?.read)); // over plain http a browser has none
  const ways = el("span", { className: "ways" }, "or drop them here, or paste with Ctrl+V ", pasting);
  const zone = el("div", { className: "zone" }, input, ways, limit);
  const status = el("p", { className: "status", role: "status" });
  const alert = alertBox();
  let problem = "";
  root.replaceChildren(el("label", { htmlFor: "file" }, "A photo or drawing"), zone, status, alert.box);

  /** @type {(files: FileList | null | undefined) => void} */
  const take = (files) => {
    problem = "";
    choose([...(files ?? [])]);
  };
  pasting.onclick = async () => {
    const files = await copiedPictures();
    problem = files.length ? "" : NO_PICTURE;
    alert.show(problem);
    choose(files);
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
    const formats = `JPEG, PNG, GIF, BMP, WEBP, TIFF, HEIC, AVIF or DICOM, up to 50 megapixels and ${megabytes} MB.`;
    const several = `Up to ${SHEET_FILES} at once make a contact sheet.`;
    setText(limit, `${formats} ${several} They stay in the memory of your session and leave it with you.`);
    setText(status, state.uploading ? `Reading ${state.uploading}` : "");
    alert.show(state.uploadError || problem);
  };
}
