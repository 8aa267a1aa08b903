import assert from "node:assert/strict";
import { test } from "node:test";
import { withFields } from "../../explorer/ui/viewer/static/lesson.js";

const hide = { hide: "menu,text", present: "1" };

test("an address gets the fields that it lacks, and nothing else changes", () => {
  assert.equal(withFields("http://a/compare", hide), "http://a/compare?hide=menu%2Ctext&present=1");
  assert.equal(withFields("http://a/?networks=a,b%2Cc#layer=stem", { present: "1" }), "http://a/?networks=a,b%2Cc&present=1#layer=stem");
});

test("a field that an address has stays as it is there", () => {
  for (const address of ["http://a/?hide=numbers&present=1", "http://a/?present=0&hide="]) assert.equal(withFields(address, hide), address);
  const once = withFields("http://a/b?c=d#e", hide);
  assert.equal(withFields(once, hide), once);
});
