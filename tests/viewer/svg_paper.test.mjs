import assert from "node:assert/strict";
import { test } from "node:test";
import { SvgPaper } from "../../explorer/ui/viewer/static/svg_paper.js";

/** Letters are 5 wide, and reach 8 above their base line and 6 above their middle. */
const measure = {
  font: "",
  textBaseline: "alphabetic",
  measureText({ length }) {
    return { width: 5 * length, actualBoundingBoxAscent: this.textBaseline === "alphabetic" ? 8 : 6 };
  },
};
const paper = (source = { uri: "data:image/png;base64,AA" }) => new SvgPaper(measure, () => source);
const inside = (made) => made.markup(30, 20, "A title.").split("\n").slice(1, -2);

test("a file has a size, and its title as text", () => {
  assert.equal(
    paper().markup(30.0004, 20, 'a < "b"'),
    '<svg xmlns="http://www.w3.org/2000/svg" width="30" height="20" viewBox="0 0 30 20" role="img"><title>a &#60; &#34;b&#34;</title>\n\n</svg>\n',
  );
});

test("words are text at their base line, with the width that they have here", () => {
  const made = paper();
  Object.assign(made, { font: '12px "Source Sans", sans-serif', fillStyle: "#123456", textAlign: "center", textBaseline: "middle" });
  made.fillText("<b>", 10, 4);
  made.fillText(" ", 10, 4);
  assert.deepEqual(inside(made), [
    '<text x="10" y="6" text-anchor="middle" textLength="15" lengthAdjust="spacingAndGlyphs" style="font: 12px &#34;Source Sans&#34;, sans-serif" fill="#123456">&#60;b&#62;</text>',
  ]);
  assert.equal(made.measureText("ab").width, 10);
});

test("moving, scaling and turning add up, and end with restore", () => {
  const made = paper();
  made.fillStyle = "red";
  made.save();
  made.translate(10, 20);
  made.scale(2, 2);
  made.fillRect(1, 1, 3, 4);
  made.rotate(-Math.PI / 2);
  made.globalAlpha = 0.5;
  made.fillRect(0, 0, 1, 1);
  made.restore();
  made.fillRect(0, 0, 1, 1);
  assert.deepEqual(inside(made), [
    '<rect x="1" y="1" width="3" height="4" fill="red" transform="matrix(2 0 0 2 10 20)"/>',
    '<rect x="0" y="0" width="1" height="1" fill="red" opacity="0.5" transform="matrix(0 -2 2 0 10 20)"/>',
    '<rect x="0" y="0" width="1" height="1" fill="red"/>',
  ]);
});

test("what is cut off is cut off until restore", () => {
  const made = paper();
  made.save();
  made.beginPath();
  made.rect(1, 2, 3, 4);
  made.clip();
  made.fillRect(0, 0, 9, 9);
  made.restore();
  assert.deepEqual(inside(made), [
    '<clipPath id="cut-1"><rect x="1" y="2" width="3" height="4"/></clipPath><g clip-path="url(#cut-1)">',
    '<rect x="0" y="0" width="9" height="9" fill="#000000"/>',
    "</g>",
  ]);
});

test("what cannot be seen is not written", () => {
  const made = paper();
  made.fillRect(0, 0, 0, 5);
  for (const fillStyle of ["transparent", "rgba(0, 0, 0, 0)"]) {
    made.fillStyle = fillStyle;
    made.fillRect(0, 0, 5, 5);
  }
  assert.deepEqual(inside(made), [""]);
});

test("a picture is all its pixels, a drawing stays lines and words", () => {
  const made = paper();
  made.imageSmoothingEnabled = false;
  made.drawImage({}, 1, 2, 30, 40);
  assert.deepEqual(inside(made), [
    '<image x="1" y="2" width="30" height="40" preserveAspectRatio="none" href="data:image/png;base64,AA" image-rendering="optimizeSpeed" style="image-rendering: pixelated"/>',
  ]);
  const drawing = paper({ markup: "<svg/>" });
  drawing.translate(5, 0);
  drawing.drawImage({}, 1, 2, 30, 40);
  assert.deepEqual(inside(drawing), ['<g transform="matrix(1 0 0 1 6 2)"><svg/></g>']);
});
