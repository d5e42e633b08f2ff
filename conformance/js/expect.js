// What the programs here expect: a refusal, or that something comes to pass.

import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";

const PATIENCE = 150_000; // milliseconds: what is judged by the minute takes more than one
const TICK = 100;

// refused returns the error that the call ends with, which is of the type and
// says the text.
export async function refused(call, type, text = "") {
  try {
    await call;
  } catch (e) {
    assert.ok(e instanceof type, e);
    assert.ok(e.message.includes(text), `got the message ${e.message}, want …${text}…`);
    return e;
  }
  throw new assert.AssertionError({ message: `a call was answered, want ${type.name} …${text}…` });
}

// until returns once done has returned true.
export async function until(what, done) {
  const deadline = Date.now() + PATIENCE;
  while (!(await done())) {
    assert.ok(Date.now() < deadline, `waited for ${what}`);
    await setTimeout(TICK);
  }
}

// all returns what is in the pages, one list for each.
export async function all(pages, of) {
  const found = [];
  for await (const page of pages) {
    found.push(of(page));
  }
  return found;
}
