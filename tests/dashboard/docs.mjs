// Uses the pages that describe functions in a headless Chromium, and checks what they show and that they are
// accessible.
//
// usage: node docs.mjs ORIGIN CHROMIUM MODULES SCREENSHOTS
import assert from 'node:assert/strict';
import { open as openBrowser } from './browser.mjs';

const [origin, executablePath, modules, screenshots] = process.argv.slice(2);
const { browser, page, complaints, inspect } = await openBrowser(origin, executablePath, modules, screenshots);

async function open(path) {
  await page.goto(`${origin}${path}`);
  await page.getByLabel('Token of the admin API').fill('everything');
  await page.getByRole('button', { name: 'Open' }).click();
}

async function call(operation, values) {
  const form = page.locator(`details[data-operation="${operation}"]`);
  await form.locator('summary').first().click();
  for (const [name, value] of Object.entries(values)) await form.getByLabel(name).fill(value);
  await form.getByRole('button', { name: `Call ${operation}` }).click();
  return form;
}

const body = 'pre[aria-label="Body of the answer"]';
await open('/local/py/v1/docs');
await page.getByRole('heading', { name: 'py' }).waitFor();
const joined = await call('POST /local/py/v1/call/join', { words: '["a","b"]', between: '+' });
await joined.locator(body, { hasText: '"a+b"' }).waitFor();
const half = await call('GET /local/py/v1/call/half', { value: '5' });
await half.locator(body, { hasText: '2.5' }).waitFor();
const refused = await call('POST /local/py/v1/call/half', { value: '"x"' });
await refused.locator(body, { hasText: 'bad_argument' }).waitFor();
const echoed = await call('POST /local/py/v1/call/echo', { value: '"<img src=x onerror=alert(1)>"' });
await echoed.locator(body, { hasText: 'onerror' }).waitFor();
assert.equal(await page.locator('img').count(), 0, 'what functions return is text');
await inspect('the functions of a deployment');

const at = (name) => `POST /local/fields/v1/call/${name}`;
await page.goto(`${origin}/local/fields/v1/docs`);
await page.getByRole('heading', { name: 'fields' }).waitFor();
const picked = page.locator(`details[data-operation="${at('pick')}"]`);
await picked.locator('summary').first().click();
await picked.getByLabel('level').selectOption('high');
await picked.getByRole('button', { name: `Call ${at('pick')}` }).click();
await picked.locator(body, { hasText: '"high"' }).waitFor();
for (const [text, other, answer] of [
  ['hello', '007', '["hello","007"]'],
  ['5', '5', '["5",5]'],
  ['null', '"5"', '[null,"5"]'],
]) {
  const maybe = page.locator(`details[data-operation="${at('maybe')}"]`);
  if (text === 'hello') await maybe.locator('summary').first().click();
  await maybe.getByLabel('text').fill(text);
  await maybe.getByLabel('other').fill(other);
  await maybe.getByRole('button', { name: `Call ${at('maybe')}` }).click();
  await maybe.locator(body, { hasText: answer }).waitFor();
}
const digits = '12345678901234567891';
const big = await call(at('big'), { number: digits });
await big.locator(body, { hasText: digits }).waitFor();
const upload = page.locator(`details[data-operation="${at('upload')}"]`);
await upload.locator('summary').first().click();
await upload.getByLabel('title').fill('5');
const file = { name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from(' bytes') };
await upload.getByLabel('file').setInputFiles(file);
await upload.getByRole('button', { name: `Call ${at('upload')}` }).click();
await upload.locator(body, { hasText: '"5 bytes"' }).waitFor();
await inspect('fields of every kind');

await page.goto(`${origin}/local/guarded/v1/docs`);
await page.getByRole('heading', { name: 'guarded' }).waitFor();
const unknown = await call('GET /local/guarded/v1/call/half', { value: '5' });
await unknown.locator(body, { hasText: 'unauthorized' }).waitFor();
await page.getByLabel('key: An API key.').fill('alice-key');
await unknown.getByRole('button', { name: 'Call GET /local/guarded/v1/call/half' }).click();
await unknown.locator(body, { hasText: '2.5' }).waitFor();
await page.goto(`${origin}/api/docs`);
await page.getByRole('heading', { name: 'metagate' }).waitFor();
await page.getByText('GET /api/inspect', { exact: true }).waitFor();
await inspect('the admin API');
assert.deepEqual(complaints, []);
await browser.close();
