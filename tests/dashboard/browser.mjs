// A headless Chromium with one page that notes what no page of the dashboard may do.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const PHONE = { width: 390, height: 844 };

/** Opens a page that may load things from `origin` only. Its `complaints` are what it did wrong. */
export async function open(origin, executablePath, modules, screenshots) {
  const { chromium } = createRequire(join(modules, 'x.js'))('playwright-core');
  const axe = readFileSync(join(modules, 'axe-core/axe.min.js'), 'utf8');
  const browser = await chromium.launch({
    executablePath,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, bypassCSP: false });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const complaints = [];
  page.on('request', (request) => {
    const own = [`${origin}/`, 'data:', `blob:${origin}/`];
    if (!own.some((start) => request.url().startsWith(start))) complaints.push(`asks ${request.url()}`);
  });
  page.on('pageerror', (error) => complaints.push(`fails: ${error.message}`));
  page.on('dialog', (dialog) => {
    complaints.push(`says ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('console', (message) => {
    // Of answers, the next listener says where they came from.
    const answered = message.text().startsWith('Failed to load resource');
    if (message.type() === 'error' && !answered) complaints.push(message.text());
  });
  page.on('response', (response) => {
    const [status, path] = [response.status(), new URL(response.url()).pathname];
    // Without a token, 401 makes the page ask for one; a function's own failure is what its form shows.
    if (status >= 400 && status !== 401 && !path.startsWith('/local/')) complaints.push(`${status} of ${path}`);
  });

  /** Fails if axe finds something. It is run through the debugger, which the page's policy does not bind. */
  async function accessible(what) {
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    const found = violations.map(
      (one) => `${one.id}: ${one.nodes.map((node) => `${node.html} ${node.failureSummary}`).join('; ')}`,
    );
    assert.deepEqual(found, [], what);
  }

  /** Chooses a theme; a page without a choice follows the system. */
  async function useTheme(theme) {
    if ((await page.locator('#theme').count()) > 0) await page.selectOption('#theme', theme);
    else await page.emulateMedia({ colorScheme: theme === '' ? null : theme });
  }

  /** Checks the page in both themes and on a phone; with a name it is painted. */
  async function inspect(what, name) {
    for (const [look, theme, size] of [
      ['light', 'light'],
      ['dark', 'dark'],
      ['phone', 'light', PHONE],
    ]) {
      if (size) await page.setViewportSize(size);
      await useTheme(theme);
      await accessible(`${what}, ${look}`);
      if (size) {
        const width = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(width <= size.width, `${what} is ${width} wide on a phone`);
      }
      await page.evaluate(() => scrollTo(0, 0));
      if (name) await page.screenshot({ path: join(screenshots, `${name}-${look}.png`) });
    }
    await page.setViewportSize({ width: 1280, height: 800 });
    await useTheme('');
  }

  return { browser, page, complaints, inspect };
}
