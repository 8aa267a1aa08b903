import assert from "node:assert/strict";
import { test } from "node:test";
import { layMarks, markAt } from "../../explorer/ui/viewer/static/charts/dial_marks.js";
import { layPanels, toX, toY } from "../../explorer/ui/viewer/static/charts/frame.js";
import { linePanels, readLines, valueSpan } from "../../explorer/ui/viewer/static/charts/line_panel.js";
import { mapPanels, readMaps } from "../../explorer/ui/viewer/static/charts/map_panel.js";
import { dragBox } from "../../explorer/ui/viewer/static/charts/moving.js";
import { heightsOf, powerText, profilePanels, pushedApart, readProfile } from "../../explorer/ui/viewer/static/charts/profile_panel.js";
import { followPlace, limitView, moveView, zoomView } from "../../explorer/ui/viewer/static/charts/span.js";
import { nearest, reached, ticks } from "../../explorer/ui/viewer/static/charts/ticks.js";

test("ticks are round and few", () => {
  assert.deepEqual(ticks(0, 1, 5), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual(ticks(0.1, 0.9, 5), [0.2, 0.4, 0.6, 0.8]);
  assert.deepEqual(ticks(0, 2346, 4), [0, 1000, 2000]);
  assert.deepEqual(ticks(-3, 3, 3), [-2, 0, 2]);
  assert.deepEqual(ticks(0, 0.3, 3), [0, 0.1, 0.2, 0.3], "0.1 + 0.2 is written 0.3");
  assert.deepEqual(ticks(0, 10, 0), [0, 10], "a slim axis has a tick too");
});

test("the nearest of sorted numbers", () => {
  const steps = [0, 10, 20, 40];
  assert.deepEqual(
    [-5, 4, 6, 20, 29, 31, 90].map((value) => nearest(steps, value)),
    [0, 0, 1, 2, 2, 3, 3],
  );
  assert.equal(nearest(steps, 5), 0, "of two equally near ones the first");
  assert.equal(nearest([7], 100), 0);
});

test("what is reached at a step", () => {
  assert.deepEqual(
    [0, 1, 5, 9, Infinity].map((until) => reached([1, 5, 9], until)),
    [0, 1, 2, 3, 3],
  );
  assert.equal(reached([], 3), 0);
});

const FULL = { x: [0, 100], y: [0, 1] };

test("zooming keeps what is under the cursor", () => {
  assert.deepEqual(zoomView({ x: [0, 100], y: [0, 20] }, { x: 25, y: 10 }, 0.5), { x: [12.5, 62.5], y: [5, 15] });
  assert.deepEqual(zoomView({ x: [40, 60], y: [0, 20] }, null, 2), { x: [30, 70], y: [-10, 30] });
});

test("a view stays within the data and never gets too small", () => {
  assert.deepEqual(limitView({ x: [20, 40], y: [0.2, 0.7] }, FULL, 1), { x: [20, 40], y: [0, 1] }, "lines keep their height");
  assert.deepEqual(limitView({ x: [-10, 30], y: [0, 1] }, FULL, 1), { x: [0, 40], y: [0, 1] });
  assert.deepEqual(limitView({ x: [90, 130], y: [0, 1] }, FULL, 1), { x: [60, 100], y: [0, 1] });
  assert.deepEqual(limitView({ x: [50, 50.1], y: [0, 1] }, FULL, 1), { x: [50, 51], y: [0, 1] });
  assert.deepEqual(limitView({ x: [3, 3], y: [1, 1] }, { x: [0, 9], y: [0, 1] }, 2), { x: [3, 5], y: [0, 1] }, "one row is all rows");
  assert.equal(limitView({ x: [-50, 150], y: [0, 1] }, FULL, 1), null, "all of it is no view of its own");
});

test("a view moves, and follows a place that leaves it", () => {
  assert.deepEqual(moveView({ x: [0, 10], y: [0, 4] }, 3, -1), { x: [3, 13], y: [-1, 3] });
  const view = { x: [10, 20], y: [0, 4] };
  assert.deepEqual(followPlace(view, { x: 15, y: 2 }, 0.5), view);
  assert.deepEqual(followPlace(view, { x: 8, y: 4 }, 0.5), { x: [8, 18], y: [0.5, 4.5] });
});

test("panels lie beside or under each other", () => {
  const beside = layPanels(2, 300, { left: 40, gap: 50, height: 100, columns: 2 });
  assert.deepEqual(
    beside.boxes.map(({ left, top, width }) => [left, top, width]),
    [
      [40, 24, 100],
      [190, 24, 100],
    ],
  );
  assert.equal(beside.height, 24 + 100 + 38);
  const under = layPanels(2, 300, { left: 40, gap: 50, height: 100, columns: 1 });
  assert.deepEqual(
    under.boxes.map(({ left, top, width }) => [left, top, width]),
    [
      [40, 24, 250],
      [40, 186, 250],
    ],
  );
  assert.equal(under.height, 2 * 162);
  const frame = { ...beside.boxes[0], x: [10, 30], y: [1, 0] };
  assert.deepEqual([toX(frame, 10), toX(frame, 15), toY(frame, 1), toY(frame, 0)], [40, 65, 24, 124], "1 is above 0");
});

const look = { name: "plain-8", colour: "#c2540a", dashed: false, points: false };
const dots = { ...look, name: "plain-8, validation", points: true };
const LINES = {
  kind: "curves",
  last: 30,
  legend: [look, dots],
  panels: [
    {
      title: "Loss",
      percent: false,
      lines: [
        { ...look, x: [0, 10, 30], y: [2.5, null, 0.123456] },
        { ...dots, x: [15], y: [12345] },
      ],
    },
    { title: "Accuracy", percent: true, lines: [{ ...look, x: [10, 30], y: [0.256, 0.5] }] },
  ],
};

test("lines have the height of what is seen", () => {
  const [loss, accuracy] = LINES.panels;
  assert.deepEqual(valueSpan(accuracy, null), [1, 0], "all per cents");
  assert.deepEqual(valueSpan({ ...loss, lines: [loss.lines[0]] }, null), [2.625, 0], "from 0 to a little more than the largest");
  assert.deepEqual(
    valueSpan(accuracy, { x: [0, 20], y: [0, 1] }).map((value) => value.toFixed(4)),
    ["0.2688", "0.2432"],
  );
  assert.deepEqual(valueSpan(accuracy, { x: [11, 12], y: [0, 1] }), [1, 0], "nothing there");
});

test("lines are read at the nearest step that is reached", () => {
  assert.deepEqual(readLines(LINES, { x: 28.6 }, Infinity), {
    heading: "step 29",
    rows: [
      ["#c2540a", "plain-8", "loss 0.123, accuracy 50.0%"],
      ["#c2540a", "plain-8, validation", "loss 1.23e+4 (step 15)"],
    ],
  });
  assert.deepEqual(
    readLines(LINES, { x: 28.6 }, 12).rows.map(([, , value]) => value),
    ["loss not measured, accuracy 25.6%", "nothing yet"],
  );
  assert.deepEqual(readLines(LINES, { x: 0 }, 5).rows[0][2], "loss 2.5");
});

const MARKS = [
  { x: 10, text: "rate × 0.1" },
  { x: 12, text: "decay 0.01" },
  { x: 28, text: "clip off" },
];

test("texts of turned dials do not cover each other, nor leave the frame", () => {
  const frame = { left: 40, top: 24, width: 300, height: 200, x: [0, 30], y: [1, 0] };
  const laid = layMarks(MARKS, frame, Infinity);
  assert.deepEqual(
    laid.map(({ x, row }) => [x, row]),
    [
      [140, 0],
      [160, 1],
      [320, 0],
    ],
  );
  assert.ok(laid[0].left > 140 && laid[2].left < 320, "beside the line, at the end of the frame on its left");
  assert.deepEqual(
    layMarks(MARKS, frame, 11).map(({ text }) => text),
    ["rate × 0.1"],
    "a replay has not come to the others",
  );
  assert.equal(layMarks(MARKS, { ...frame, x: [11, 20] }, Infinity).length, 1, "of those that are in view");
  const crowd = Array.from({ length: 9 }, () => MARKS[0]);
  assert.deepEqual(
    layMarks(crowd, frame, Infinity).map(({ row }) => row),
    [0, 1, 2, 3, 4, 5, -1, -1, -1],
    "lines without a text where there are too many",
  );
});

test("a reading names the dials that were turned last", () => {
  assert.equal(markAt(MARKS, 9), undefined);
  assert.equal(markAt(MARKS, 12)?.text, "decay 0.01");
  const read = (x, until) => readLines({ ...LINES, marks: MARKS }, { x }, until).rows.slice(2);
  assert.deepEqual(read(11, Infinity), [["inherit", "dial at step 10", "rate × 0.1"]]);
  assert.deepEqual(read(30, 12), [["inherit", "dial at step 12", "decay 0.01"]]);
  assert.deepEqual(read(5, Infinity), []);
});

const MAPS = {
  kind: "map",
  rows: ["stem", "head.fc"],
  columns: [0, 1, 4],
  panels: [
    {
      title: "plain-8",
      colour: "red",
      sizes: [
        [1, 0.00012, 3],
        [0, null, 6000],
      ],
    },
  ],
};

test("maps are read by cell, up to the step that is reached", () => {
  const at = (x, y, until = Infinity) => readMaps(MAPS, { x, y }, until);
  assert.deepEqual(at(1.9, 0.2), { heading: "stem, step 1", rows: [["red", "plain-8", "1.20e-4"]] });
  assert.deepEqual(at(7, 5).heading, "head.fc, step 4", "the last cell is beyond the edge too");
  assert.deepEqual(
    [at(0, 1), at(1, 1), at(2, 1), at(2, 1, 3)].map(({ rows }) => rows[0][2]),
    ["0", "not measured", "6000", "not reached yet"],
  );
});

test("both kinds say how much there is", () => {
  assert.deepEqual([linePanels(LINES).full, linePanels(LINES).least], [{ x: [0, 30], y: [0, 1] }, 1]);
  assert.deepEqual([mapPanels(MAPS).full, mapPanels(MAPS).least], [{ x: [0, 3], y: [0, 2] }, 2]);
  assert.deepEqual([linePanels(LINES).layout(559).columns, linePanels(LINES).layout(560).columns], [1, 2]);
});

test("a drag marks what is within its panel", () => {
  const frame = { left: 40, top: 20, width: 100, height: 50, x: [0, 1], y: [0, 1] };
  const drag = { from: { left: 90, top: 30, frame }, now: { left: 10, top: 300, frame } };
  assert.deepEqual(dragBox(drag, true), { x: 40, y: 30, width: 50, height: 40 });
  assert.deepEqual(dragBox(drag, false), { x: 40, y: 20, width: 50, height: 50 });
});

const profileLine = {
  ...{ name: "plain-8", label: "8", colour: "#c2540a", dashed: false, squares: false, width: 2, n: 3 },
  ...{ layers: ["stem.conv", "stages.0.0.conv1", "stages.0.0.conv2"], x: [0, 0.5, 1] },
  ...{ median: [0, 1e-3, 10], low: [0, 1e-4, null], high: [1e-5, 1, 10], zeros: [2, 0, 0], lost: [0, 0, 1] },
};
const PROFILE = { decades: [-4, 1], lost: true, sample: "seed", panels: [{ title: "", lines: [profileLine] }] };

test("sizes lie at their power of ten, zeros below all and what is not finite above", () => {
  const { place, zero, top, span } = heightsOf(PROFILE);
  assert.deepEqual([place(1e-4), place(0.1), place(10), place(0), place(null)], [-4, -1, 1, zero, null]);
  assert.ok(span[1] < zero && zero < -4 && top > 1 && span[0] > top);
  assert.ok(heightsOf({ ...PROFILE, lost: false }).span[0] < top, "no room where everything is finite");
});

test("powers of ten are written short", () => {
  assert.deepEqual([-21, -3, -2, 0, 1, 3, 4, 12].map(powerText), ["10⁻²¹", "10⁻³", "0.01", "1", "10", "1000", "10⁴", "10¹²"]);
});

test("labels of near lines do not cover each other and stay within the frame", () => {
  assert.deepEqual(pushedApart([10, 200], 300), [10, 200]);
  assert.deepEqual(pushedApart([100, 100, 90], 300), [104, 118, 90]);
  const low = pushedApart([300, 300, 299], 300);
  assert.deepEqual(
    [...low].sort((one, other) => one - other),
    [272, 286, 300],
  );
});

test("the sizes at a depth are read with their spread and their zeros", () => {
  assert.deepEqual(readProfile(PROFILE, { x: 0.1, y: 0 }), {
    heading: "relative depth 0.10",
    rows: [["#c2540a", "plain-8", "stem.conv 0, median of 3 seeds, 0 to 1.00e-5, exactly 0 in 2 of 3"]],
  });
  const [[, , last]] = readProfile(PROFILE, { x: 0.9, y: 0, panel: 0 }).rows;
  assert.equal(last, "stages.0.0.conv2 10, median of 3 seeds, not measured to 10, not finite in 1 of 3");
});

test("panels stand in rows where there are many", () => {
  const many = (count) => profilePanels({ ...PROFILE, panels: Array.from({ length: count }, () => PROFILE.panels[0]) });
  assert.deepEqual(
    [1, 2, 3, 4, 6].map((count) => many(count).layout(1200).columns),
    [1, 2, 3, 2, 3],
  );
  assert.equal(many(6).layout(390).columns, 1);
});
