// Your own input: dials, an attack, a drawing, the camera. What both networks say of it stands beside the hand.

import { el, find, setText } from "../dom.js";
import { attackView } from "./attack.js";
import { dialsView } from "./dials.js";
import { drawingView } from "./drawing.js";
import { liveCameraView } from "./live_camera.js";
import { percent } from "./predictions.js";

/** @type {(root: HTMLElement, choose: Choose, follow: Follow, classes: () => string[]) => {draw: Draw, end: () => void}} */
export function ownInputView(root, choose, follow, classes) {
  root.replaceChildren(...["dials", "attack", "drawing", "camera"].map((className) => el("div", { className })));
  const answers = el("p", { className: "answers" });
  root.append(answers);
  const dials = dialsView(find(root, ".dials"), choose);
  const attack = attackView(find(root, ".attack"), choose, classes);
  const drawing = drawingView(find(root, ".drawing"), choose, follow);
  const camera = liveCameraView(find(root, ".camera"), follow);
  return {
    draw(state) {
      for (const draw of [dials, attack, drawing, camera.draw]) draw(state);
      const networks = state.message?.predictions.networks ?? [];
      setText(
        answers,
        networks.map(({ title, classes: [{ name, probability }] }) => `${title}: ${name} ${percent(probability)}`).join("\n"),
      );
    },
    end: camera.end,
  };
}
