// Uses the client of the deployment of tests/fixtures/clients-node. tsc checks it, and what is marked as an error must
// be one.

import { CallError, createClient, type Item } from "./shop.js";

const url = process.argv[2] ?? "";
const shop = createClient({ url, headers: { "x-caller": "tests" } });

function assertEqual(found: unknown, expected: unknown): void {
  const [one, other] = [JSON.stringify(found), JSON.stringify(expected)];
  if (one !== other) throw new Error(`found ${one}, expected ${other}`);
}

async function failure(call: Promise<unknown>): Promise<CallError> {
  const error: unknown = await call.then(() => undefined, (reason: unknown) => reason);
  if (!(error instanceof CallError)) throw new Error(`no CallError: ${String(error)}`);
  return error;
}

async function results(): Promise<void> {
  const items: Item[] = [{ id: "a" }, { id: "b", price: 2.5, parts: [{ id: "c" }] }];
  const placed: { count: number; level: string; note: string | null } = await shop.order(items);
  assertEqual(placed, { count: 2, level: "low", note: null });
  assertEqual(await shop.order(items, "high"), { count: 2, level: "high", note: null });
  assertEqual(await shop.order([], undefined, "soon"), { count: 0, level: "low", note: "soon" });
  const item = await shop.same({ id: "a", parts: [{ id: "b" }] });
  assertEqual(item.parts?.[0]?.id, "b");
  assertEqual(await shop.total(1), 1);
  assertEqual(await shop.total(1, 2, 3), 6);
  assertEqual(await shop.size(new Uint8Array([0, 255, 10])), 3);
  assertEqual(await shop.size(new Uint8Array(100_000).fill(7)), 100_000);
  assertEqual(await shop.year(new Date("1999-12-31T00:00:00Z")), 1999);
  assertEqual(await shop.year("2001-01-01"), 2001);
  assertEqual(await shop.digits(123456789012345678901234567890n), "123456789012345678901234567890");
  assertEqual(await shop.upload("me", new File(["12345"], "me.png")), { title: "me", name: "me.png", bytes: 5 });
  assertEqual(await shop.page(), "hello");
  assertEqual(await shop.nothing(), null);
  assertEqual(await shop.caller(), "tests");
  // Each object has a `toString`, so the function of this name has another one here.
  assertEqual(await shop.toString_(), null);
}

async function errors(): Promise<void> {
  const found = await failure(shop.find("ink"));
  assertEqual([found.status, found.code, found.message], [404, "function_error", "there is no ink"]);
  if (!found.requestId) throw new Error("the error has no id of its request");
  const wrong = await failure(shop.same({ id: 7 } as unknown as Item));
  assertEqual([wrong.status, wrong.code, wrong.argument, wrong.path], [422, "bad_argument", "item", ".id"]);
  const absent = await failure(createClient({ url: `${url}/nowhere/` }).nothing());
  assertEqual([absent.status, absent.code], [404, "not_found"]);
  const refused = await shop.total(Number.NaN).catch((error: unknown) => String(error));
  assertEqual(refused, "TypeError: NaN has no form in JSON");
}

async function streams(): Promise<void> {
  const items: unknown[] = [];
  for await (const item of shop.countTo(3)) items.push(item);
  assertEqual(items, [{ n: 1 }, { n: 2 }, { n: 3 }]);
  // The rest of a long stream is not read.
  for await (const item of shop.countTo(1e9)) {
    assertEqual(item, { n: 1 });
    break;
  }
  const before: unknown[] = [];
  let error: unknown;
  try {
    for await (const item of shop.breakOff()) before.push(item);
  } catch (thrown) {
    error = thrown;
  }
  assertEqual(before, [1, 2, 3]);
  if (!(error instanceof CallError)) throw new Error(`no CallError: ${String(error)}`);
  assertEqual([error.code, error.message], ["function_error", "Error: no more"]);
  const bad = shop.countTo("x" as unknown as number).next();
  assertEqual((await failure(bad)).code, "bad_argument");
}

async function limits(): Promise<void> {
  const name = (error: unknown): unknown => (error as Error).name;
  const slow = createClient({ url, timeout: 50 });
  assertEqual(await slow.never().catch(name), "TimeoutError");
  const abort = new AbortController();
  const call = createClient({ url, signal: abort.signal }).never().catch(name);
  abort.abort();
  assertEqual(await call, "AbortError");
  const sent: string[] = [];
  const counting = createClient({
    url,
    fetch: (input, init) => {
      sent.push(String(input));
      return fetch(input, init);
    },
  });
  await counting.nothing();
  assertEqual(sent, [`${url}/local/shop/v1/call/nothing`]);
}

/** Never called: each of these calls is a mistake that the compiler finds. */
export async function mistakes(): Promise<void> {
  // @ts-expect-error: an argument is missing
  await shop.order();
  // @ts-expect-error: no such level
  await shop.order([], "middle");
  // @ts-expect-error: an item needs its id
  await shop.order([{ price: 1 }]);
  // @ts-expect-error: an item has no such field
  await shop.same({ id: "a", cost: 1 });
  // @ts-expect-error: a text is no number
  await shop.total(1, "2");
  // @ts-expect-error: a result is a number
  const text: string = await shop.total(1);
  // @ts-expect-error: a field that may be absent is no number
  const price: number = (await shop.same({ id: "a" })).price;
  // @ts-expect-error: text is not bytes
  await shop.size("AQID");
  // @ts-expect-error: there is no such function
  await shop.remove();
  // @ts-expect-error: what is not known must be checked
  const page: string = await shop.page();
  // @ts-expect-error: the address is needed
  createClient({});
  void [text, price, page];
}

await results();
await errors();
await streams();
await limits();
console.log("all is well");
