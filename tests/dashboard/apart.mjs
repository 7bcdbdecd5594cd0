// Uses the dashboard of an admin listener of its own, with plugins and routes: by click, in a headless Chromium.
//
// usage: node apart.mjs ORIGIN CHROMIUM MODULES SCREENSHOTS
import assert from 'node:assert/strict';
import { open } from './browser.mjs';

const [origin, executablePath, modules, screenshots] = process.argv.slice(2);
const { browser, page, complaints, inspect } = await open(origin, executablePath, modules, screenshots);

/** The form calls through the admin API: plugins run, and what comes back is text. */
async function form() {
  await page.goto(`${origin}/`);
  await page.getByLabel('Token').fill('everything');
  await page.keyboard.press('Enter');
  await page.getByRole('link', { name: 'math', exact: true }).click();
  await page.getByText('say(', { exact: false }).click();
  const say = page.locator('details[data-function=say]');
  const body = say.locator('pre[aria-label="Body of the answer"]');
  await say.getByLabel('text').fill('<img src=x onerror=alert(1)>');
  await say.getByRole('button', { name: 'Call say' }).click();
  await body.getByText('wants an API key').waitFor();
  await say.getByText('401', { exact: true }).waitFor();
  await say.getByLabel('Headers').fill('x-api-key: k-alice-1\nx-request-id: from-the-form');
  await say.getByRole('button', { name: 'Call say' }).click();
  await body.getByText('"<img src=x onerror=alert(1)>"').waitFor();
  await say.getByText('from-the-form').first().waitFor();
  assert.equal(await page.locator('img').count(), 0, 'what functions return is text');
  await say.getByLabel('Headers').fill('host: elsewhere');
  await say.getByRole('button', { name: 'Call say' }).click();
  await say.getByText('cannot be set by the caller').waitFor();
}

/** The plugins of the chain with their cost, and the names of the variables. */
async function chain() {
  await page.reload();
  const row = page.locator('tr', { hasText: 'api-key' });
  await row.getByText('before-invoke').waitFor();
  await row.getByText('100 %').waitFor();
  await page.getByText('GREETING').waitFor();
  assert.equal(await page.getByText('hello-from-the-configuration').count(), 0, 'no values');
  await inspect('a deployment with plugins', 'deployment');
}

/** The wiring: a picture whose boxes lead to pages, a table, a filter. */
async function wiring() {
  await page.getByRole('link', { name: 'Wiring' }).click();
  const picture = page.locator('svg.wiring');
  await picture.getByText('/sums/{a} → sum').waitFor();
  await picture.getByText('2 of 2 ready').waitFor();
  await inspect('the wiring', 'wiring');
  await page.getByText('The same as a table').click();
  await page.getByRole('cell', { name: 'cache (some functions)' }).waitFor();
  await inspect('the wiring as a table');
  await page.getByLabel('Filter').fill('trapper');
  await picture.getByText('/sums/{a} → sum').waitFor({ state: 'detached' });
  await page.getByLabel('Filter').fill('nothing has this name');
  await page.getByText('Nothing fits.').waitFor();
  await page.getByLabel('Filter').fill('');
  await picture.getByText('api-key').click();
  await page.getByRole('heading', { name: 'api-key' }).waitFor();
}

/** With a thousand deployments it shows the first, and how many there are. */
async function manyWires() {
  const lanes = Array.from({ length: 40 }, (_, at) => ({
    name: `d${at}${at === 7 ? '<img src=x onerror=alert(1)>' : ''}`,
    state: at % 9 === 0 ? 'failed' : 'ready',
    routes: Array.from({ length: at % 6 }, (_, route) => ({ path: `/a/rather/long/path/${route}`, function: null })),
    plugins: ['audit', 'api-key', 'limits'].slice(0, at % 4).map((name) => ({ name, status: 'ready', partly: false })),
    ready: at,
    workers: at,
    in_flight: at,
    queued: 0,
  }));
  await page.route('**/api/wiring*', (route) => route.fulfill({ json: { prefix: 'local', matching: 1000, lanes } }));
  await page.goto(`${origin}/#/wiring`);
  await page.getByText('the first 40 of 1000').waitFor();
  assert.equal(await page.locator('g.lane').count(), 40);
  assert.equal(await page.locator('img').count(), 0, 'a hostile name is text');
  await inspect('a large wiring');
  await page.unroute('**/api/wiring*');
}

/** Settings, grants, verdicts, breakers and the last failures; no values of a configuration. */
async function plugins() {
  await page.getByRole('link', { name: 'Plugins' }).click();
  await page.locator('tr', { hasText: 'trapper' }).getByText('breaker_open').waitFor();
  await inspect('the plugins', 'plugins');
  await page.getByRole('link', { name: 'trapper' }).click();
  await page.locator('tr', { hasText: 'trap: the plugin crashed' }).getByText('it/args').waitFor();
  await page.getByText('calls of 127.0.0.1 to it').waitFor();
  await inspect('a plugin that fails');
  await page.goto(`${origin}/#/plugins/api-key`);
  await page.getByText('keys (values are not shown)').waitFor();
  await page.getByText('1 reject').waitFor();
  assert.equal(await page.getByText('k-alice').count(), 0);
}

/** A recording is started, grows, is downloaded, run again and discarded. */
async function recording() {
  await page.goto(`${origin}/#/plugins/cache`);
  await page.getByText('Nothing is recorded.').waitFor();
  await page.getByLabel('Cases').fill('3');
  await page.getByRole('button', { name: 'Record', exact: true }).click();
  await page.getByText('0 of at most 3 cases').waitFor();
  for (let calls = 0; calls < 2; calls += 1) {
    const authorization = 'Bearer everything';
    const headers = { authorization, 'content-type': 'application/json' };
    const body = JSON.stringify({ body: '[20, 22]' });
    const got = await fetch(`${origin}/api/invoke/cached/sum`, { method: 'POST', headers, body });
    assert.equal((await got.json()).body, '42');
  }
  await page.getByRole('button', { name: 'Show cases' }).click();
  await page.getByText('3 of at most 3 cases').waitFor();
  await page.getByText('it has all cases that it may have').waitFor();
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Download the cases' }).click();
  assert.equal((await download).suggestedFilename(), 'cache.jsonl');
  await page.getByRole('button', { name: 'Run all again' }).click();
  await page.getByText('same', { exact: true }).nth(2).waitFor();
  await page.locator('tr', { hasText: 'respond' }).getByRole('button').click();
  await page.getByText('verdict: expected respond, got proceed').waitFor();
  await inspect('a recording', 'plugin');
  await page.getByRole('button', { name: 'Record anew' }).click();
  await page.getByText('0 of at most 3 cases').waitFor();
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.getByText('it was stopped').waitFor();
  await page.getByRole('button', { name: 'Discard' }).click();
  await page.getByText('Nothing is recorded.').waitFor();
}

/** Who may only read sees why the rest is disabled. */
async function reader() {
  await page.getByRole('button', { name: 'Forget the token' }).click();
  await page.getByLabel('Token').fill('look');
  await page.keyboard.press('Enter');
  await page.getByText('the token "looker" may only: read').waitFor();
  assert.ok(await page.getByRole('button', { name: 'Record', exact: true }).isDisabled());
  await page.goto(`${origin}/#/deployment/math`);
  await page.getByText('say(', { exact: false }).click();
  assert.ok(await page.getByRole('button', { name: 'Call say' }).isDisabled());
  await inspect('what a reader sees');
}

try {
  for (const part of [form, chain, wiring, manyWires, plugins, recording, reader]) {
    const begun = performance.now();
    await part();
    console.log(`${part.name}: ${Math.round(performance.now() - begun)} ms`);
  }
  // The header that cannot be set, and nothing else.
  assert.deepEqual(complaints, ['400 of /api/invoke/math/say']);
} finally {
  await browser.close();
}
