import assert from "node:assert/strict";
import { test } from "node:test";
import { aimOf, attackOf, attackText, NO_ATTACK, withAim } from "../../explorer/ui/viewer/static/attack.js";

for (const [text, changes] of [
  ["", {}],
  ["epsilon4", { epsilon: 4 }],
  ["epsilon0.25_steps10_seed7_second_least", { epsilon: 0.25, steps: 10, seed: 7, second: true, least: true }],
  ["steps10_target0", { steps: 10, target: 0 }],
]) {
  test(`"${text}" is read and written`, () => {
    assert.deepEqual(attackOf(text), { ...NO_ATTACK, ...changes });
    assert.equal(attackText({ ...NO_ATTACK, ...changes }), text);
  });
}

test("what cannot be read is as by default, and nothing is beyond the dial", () => {
  for (const text of ["x", "epsilon", "epsilon-4", "steps2.5", "__proto__", "constructor1", "<b>"])
    assert.deepEqual(attackOf(text), NO_ATTACK);
  assert.equal(attackOf("epsilon400").epsilon, 16);
});

test("an aim takes the place of the one before", () => {
  const aimed = (aim) => aimOf(withAim(attackOf("epsilon4_target3"), aim));
  for (const aim of ["any", "least", "0", "12"]) assert.equal(aimed(aim), aim);
  assert.equal(attackText(withAim(attackOf("epsilon4_target3"), "least")), "epsilon4_least");
});
