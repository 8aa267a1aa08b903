import assert from "node:assert/strict";
import { test } from "node:test";
import { fetchRows } from "../../explorer/ui/viewer/static/api.js";

/** What a person reads where the server, or what stands before it, answers so. */
async function told(body, status, type = "text/html") {
  globalThis.document = { baseURI: "https://student:look@lab.example/explorer/?layers=main" };
  globalThis.fetch = async (url) => {
    assert.equal(String(url), "https://lab.example/explorer/api/rows");
    return new Response(body, { status, headers: { "Content-Type": type } });
  };
  return fetchRows("token", {}, new AbortController().signal).then(JSON.stringify, (error) => error.message);
}

test("a refusal is a sentence: the server's own, or one that names the proxy", async () => {
  const own = JSON.stringify({ code: "origin", message: "The header `Host` names 'lab'." });
  assert.equal(await told(own, 403, "application/json"), "The header `Host` names 'lab'.");
  assert.equal(await told("<p>No</p>", 403), "The proxy in front of the server refused the request (status 403). Reload the page.");
  assert.match(await told("", 401), /wants a login \(status 401\)/);
  assert.match(await told("", 413), /takes no file of this size/);
  for (const status of [502, 503]) assert.match(await told("", status), /does not reach the server/);
  assert.match(await told("", 504), /did not wait/);
  assert.match(await told("", 500), /^The server gave no answer to this view \(status 500\)/);
  assert.equal(await told('{"rows":[]}', 200, "application/json"), '{"rows":[]}');
});
