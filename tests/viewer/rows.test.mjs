import assert from "node:assert/strict";
import { test } from "node:test";
import { RequestError } from "../../explorer/ui/viewer/static/api.js";
import { rowRequests } from "../../explorer/ui/viewer/static/row_requests.js";
import { aligned, needsRows, parseRows, rowCharts, rowsKey, shownRows, withRow } from "../../explorer/ui/viewer/static/rows.js";
import { EMPTY, reduce } from "../../explorer/ui/viewer/static/store.js";

const VIEW = { picture: "sample-6-6", layers: "blocks", step: null, networks: ["a", "b"], theme: "light" };
const row = (name, more = {}) => ({ name, title: name, chart: null, words: [], start: null, pending: false, ...more });
const answer = (rows, done = true) => ({ layers: ["stem", "block"], rows, costs: {}, progress: "", done, csv: "" });
const wanting = (rows, view = VIEW) => ({ ...EMPTY, view, selection: { ...EMPTY.selection, rows } });
const received = (state, found) => reduce(state, { type: "rows", key: rowsKey(state), answer: found });

test("rows are switched on and off in one order, and unknown ones are left out", () => {
  assert.deepEqual(parseRows("field,nosuch,probe"), ["probe", "field"]);
  assert.equal(withRow("field", "probe", true), "probe,field");
  assert.equal(withRow("probe,field", "probe", false), "field");
  assert.equal(withRow("probe", "probe", false), null);
  assert.deepEqual(parseRows(null), []);
});

test("nothing is asked for until a row is wanted, or what the rows cost", () => {
  assert.equal(rowsKey(wanting(null)), null);
  assert.ok(!needsRows(wanting(null)));
  assert.ok(needsRows(wanting("probe")));
  assert.ok(needsRows({ ...wanting(null), offersRows: true }));
});

test("it is asked again until all is measured, and anew for other networks or layers, but for no other picture", () => {
  const state = wanting("probe");
  assert.ok(needsRows(received(state, answer([row("probe", { pending: true })], false))));
  const known = received(state, answer([row("probe")]));
  assert.ok(!needsRows(known));
  assert.ok(!needsRows({ ...known, view: { ...VIEW, picture: "sample-1-1", target: 3 } }));
  assert.ok(needsRows({ ...known, view: { ...VIEW, networks: ["a"] } }));
  assert.ok(needsRows({ ...known, view: { ...VIEW, layers: "all" } }));
  assert.ok(needsRows(reduce(known, { type: "start", row: "probe" })));
});

test("an answer to what is wanted no more is not shown", () => {
  const before = wanting("probe");
  const now = wanting("field");
  assert.equal(reduce(now, { type: "rows", key: rowsKey(before), answer: answer([row("probe")]) }), now);
});

test("of the rows that are known the wanted ones are shown, of the networks of the view alone", () => {
  const known = received(wanting("probe,field"), answer([row("probe"), row("field")]));
  assert.deepEqual(
    shownRows(known).map(({ name }) => name),
    ["probe", "field"],
  );
  assert.deepEqual(
    shownRows({ ...known, selection: { ...known.selection, rows: "field" } }).map(({ name }) => name),
    ["field"],
  );
  assert.deepEqual(shownRows({ ...known, view: { ...VIEW, networks: ["a", "c"] } }), []);
});

test("a view that names the same networks again leaves the charts as they are drawn", () => {
  const charts = rowCharts();
  const known = received(wanting("probe"), answer([row("probe")]));
  const drawn = charts(known);
  assert.equal(charts({ ...known, view: { ...VIEW, networks: [...VIEW.networks] } }), drawn);
  assert.notEqual(charts({ ...known, view: { ...VIEW, networks: ["a", "c"] } }), drawn);
});

test("what takes long begins for the networks and layers that are seen", () => {
  const started = reduce(wanting("probe"), { type: "start", row: "probe" });
  assert.deepEqual(started.started, ["probe"]);
  assert.deepEqual(reduce(started, { type: "choose", changes: { target: 3 } }).started, ["probe"]);
  assert.deepEqual(reduce(started, { type: "choose", changes: { layers: "all" } }).started, []);
});

test("values are drawn at the columns of their layers", () => {
  const series = [{ colour: "red", dash: "", line: [null, 0.5], dots: [0.25, null], bands: [null, [0.4, 0.6]] }];
  const chart = { title: "t", alt: "", ticks: [], series, hover: ["stem, t", "block, t"] };
  const moved = aligned(chart, ["stem", "block"], ["block", "new", "stem"]);
  assert.deepEqual(moved.series[0].line, [0.5, null, null]);
  assert.deepEqual(moved.series[0].dots, [null, null, 0.25]);
  assert.deepEqual(moved.series[0].bands, [[0.4, 0.6], null, null]);
  assert.deepEqual(moved.hover, ["block, t", "new, not measured", "stem, t"]);
});

/** A viewer whose server gives these answers, one after the other; an Error is thrown. */
function viewer(rows, answers) {
  const asked = [];
  const own = { state: { ...wanting(rows), data: { token: "t" } }, asked };
  own.ask = rowRequests({
    now: () => own.state,
    show: (event) => {
      own.state = reduce(own.state, event);
    },
    isSeen: () => true,
    renew: (token) => asked.push(`renew ${token}`),
    ask: async (_, question) => {
      asked.push(question);
      const next = answers.shift();
      if (next instanceof Error) throw next;
      return typeof next === "function" ? next() : next;
    },
    again: 0,
  });
  return own;
}

test("the server is asked until it has measured all, and no more", async () => {
  const own = viewer("probe", [answer([row("probe", { pending: true })], false), answer([row("probe")])]);
  await own.ask();
  assert.equal(own.asked.length, 2);
  assert.deepEqual(own.asked[0], { networks: ["a", "b"], layers: "blocks", step: null, rows: "probe", start: [] });
  assert.ok(!needsRows(own.state));
  await own.ask();
  assert.equal(own.asked.length, 2);
});

test("of what is wanted the newest is shown", async () => {
  let come = () => {};
  const late = new Promise((resolve) => {
    come = resolve;
  });
  const own = viewer("probe", [() => late, answer([row("field")])]);
  const first = own.ask();
  own.state = { ...own.state, selection: { ...own.state.selection, rows: "field" } };
  await own.ask();
  come(answer([row("probe")]));
  await first;
  assert.deepEqual(own.state.rows.answer.rows, [row("field")]);
});

test("an address that is not there yet is asked again, and one that stays away is said once", async () => {
  const moved = new RequestError("Other networks.", "networks");
  const own = viewer("probe", [moved, new RequestError("Ended.", "session"), answer([row("probe")])]);
  await own.ask();
  assert.equal(own.state.error, "");
  assert.ok(own.asked.includes("renew t") && !needsRows(own.state));
  const lost = viewer("probe", Array(20).fill(moved));
  await lost.ask();
  assert.equal(lost.state.error, "Other networks.");
  assert.ok(!needsRows(lost.state), "it is not asked for ever");
});
