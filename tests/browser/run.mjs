// Runs the page of this folder in a headless Chromium against a gateway on another origin, and checks what it saw.
//
// usage: node run.mjs METAGATE CHROMIUM SCREENSHOT FOLDER    (FOLDER: a copy of this one, which the gateway writes to)
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';

const [metagate, chromium, screenshot, folder] = process.argv.slice(2);
const PATIENCE = 60_000;
const FILES = { '/': ['page.html', 'text/html'], '/page.js': ['page.js', 'text/javascript'] };
const ended = [];

/** Serves the page; each port is an origin of its own. */
async function pages() {
  const server = createServer(({ url }, answer) => {
    const [file, type] = FILES[url.split('?')[0]] ?? [];
    if (!file) return answer.writeHead(404).end();
    answer.writeHead(200, { 'content-type': type }).end(readFileSync(join(folder, file)));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return `http://127.0.0.1:${server.address().port}`;
}

function start(program, args, options) {
  const child = spawn(program, args, options);
  child.once('error', (error) => fail(`${program}: ${error.message}`));
  ended.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill('SIGTERM');
    await exit;
  });
  return child;
}

async function fail(error) {
  console.error(error);
  await stop();
  process.exit(1);
}

async function stop() {
  for (const end of ended.splice(0)) await end();
}

/** Starts the gateway, and waits until its deployments are ready. */
async function gateway(listed) {
  const child = start(metagate, ['serve', join(folder, 'metagate.toml')], {
    cwd: folder, env: { ...process.env, PAGES: listed }, stdio: ['ignore', 'pipe', 'inherit'],
  });
  let address;
  for await (const line of createInterface({ input: child.stdout })) {
    address = line.replace('listening on ', '').trim();
    break;
  }
  assert.match(address ?? '', /^http:/, 'the gateway did not start');
  while ((await fetch(`${address}/readyz`)).status !== 200) await pause(50);
  return address;
}

/** A browser, driven by the DevTools protocol over its pipe: messages of JSON, each ended by a zero byte. */
function browser() {
  const args = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
    '--remote-debugging-pipe', `--user-data-dir=${join(folder, 'profile')}`, '--window-size=900,1300', 'about:blank'];
  const child = start(chromium, args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
  const waiting = new Map();
  let last = 0;
  let rest = '';
  child.stdio[4].setEncoding('utf8').on('data', (text) => {
    const messages = (rest + text).split('\0');
    rest = messages.pop();
    for (const { id, result, error } of messages.map((message) => JSON.parse(message))) {
      const call = waiting.get(id);
      waiting.delete(id);
      if (error) call?.reject(new Error(error.message));
      else call?.resolve(result);
    }
  });
  child.once('exit', () => waiting.forEach(({ reject }) => reject(new Error('the browser has ended'))));
  return (method, params = {}, sessionId = undefined) => new Promise((resolve, reject) => {
    waiting.set(++last, { resolve, reject });
    child.stdio[3].write(`${JSON.stringify({ id: last, method, params, sessionId })}\0`);
  });
}

/** Opens the page of an origin, and returns a function that runs checks in it. */
async function open(send, origin, address) {
  const { targetId } = await send('Target.createTarget', { url: `${origin}/?gateway=${address}` });
  const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
  const value = async (expression) => {
    const call = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await send('Runtime.evaluate', call, sessionId);
    assert.equal(exceptionDetails, undefined, JSON.stringify(exceptionDetails));
    return result.value;
  };
  while (!(await value('typeof run === "function" && document.readyState === "complete"'))) await pause(20);
  return {
    run: (...names) => value(`run(${JSON.stringify(names)})`),
    screenshot: async () => Buffer.from((await send('Page.captureScreenshot', {}, sessionId)).data, 'base64'),
  };
}

/** Events in order, which came one by one: the function pauses 150 ms between them. */
function streamed(events) {
  assert.deepEqual(events.map(({ tick }) => tick), [0, 1, 2]);
  assert.ok(events[2].at - events[0].at > 100, `they came together: ${JSON.stringify(events)}`);
}

function sees(results, expected) {
  for (const [name, check] of Object.entries(expected)) {
    if (typeof check === 'function') check(results[name]);
    else assert.deepEqual(results[name], check, name);
    console.log(`ok ${name}`);
  }
}

const upload = { title: 'Crème brûlée', name: 'naïve "name".png', type: 'image/png', size: 3000 };
upload.sum = Array.from({ length: 3000 }, (_, i) => i % 256).reduce((a, b) => a + b);

function listedSees(origin) {
  const authorization = 'Bearer t0ken';
  return {
    typed: 42,
    wrongType: { status: 422, code: 'bad_argument', header: 'bad_argument', id: true },
    noSuchFunction: { status: 404, header: 'function_not_found' },
    eventSource: streamed,
    lines: ({ type, seen, rest }) => {
      assert.match(type, /^application\/x-ndjson/);
      assert.equal(rest, '');
      streamed(seen);
    },
    upload,
    image: { width: 64, height: 32, point: [30, 90, 200, 255] },
    credentials: {
      login: 'welcome', shown: '2', hidden: null, cookie: null,
      with: { cookie: 'session=s3cret', authorization, origin },
      without: { cookie: null, authorization: null, origin },
    },
    post: 1,
  };
}

/** An origin that is not listed reads nothing, and what needs a preflight does not even run. */
const REFUSED = 'TypeError: Failed to fetch';
const OTHER_SEES = {
  typed: REFUSED, noSuchFunction: REFUSED, eventSource: [], lines: REFUSED, upload: REFUSED, image: null,
  credentials: REFUSED, post: REFUSED, posts: REFUSED,
};

async function main() {
  const listed = await pages();
  const other = await pages();
  const address = await gateway(listed);
  const send = browser();
  const page = await open(send, listed, address);
  const expected = listedSees(listed);
  const results = await page.run(...Object.keys(expected));
  writeFileSync(screenshot, await page.screenshot());
  sees(results, expected);
  const stranger = await open(send, other, address);
  console.log('from an origin that is not listed:');
  sees(await stranger.run(...Object.keys(OTHER_SEES)), OTHER_SEES);
  sees(await page.run('posts'), { posts: 1 });
}

setTimeout(() => fail(`not over after ${PATIENCE} ms`), PATIENCE).unref();
await main().catch(fail);
await stop();
console.log(`right in every check; the page is in ${screenshot}`);
process.exit(0);
