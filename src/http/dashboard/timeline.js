// The page of one call: how it ended, its parts as a picture and as a table, and the lines of its log.

import { read, Refused } from './api.js';
import { element, notice, table } from './dom.js';
import { bytes, milliseconds, NOTHING } from './format.js';

const TITLES = {
  request: 'Request read',
  'before-invoke': 'Before-hook',
  queue: 'Queue',
  worker: 'Worker',
  'after-invoke': 'After-hook',
  stream: 'Stream',
};

function titleOf({ part, name }) {
  const title = TITLES[part] ?? part;
  return name ? `${title} ${name}` : title;
}

/** What was called, in a few words. */
export function targetOf({ function: name, called, method, path, deployment }) {
  if (name && name !== 'http') return name;
  if (path) return `${method} ${path}`;
  return called ?? deployment ?? NOTHING;
}

/** How a call ended: the status, and the code of an error. */
export function statusOf({ status, code, is_error: isError }) {
  return element('span', { class: isError ? 'bad' : null }, code ? `${status} ${code}` : String(status));
}

/** A bar for each part, below one another, as long as it took. The table beside it says the same. */
function picture({ parts, duration_ms: whole }) {
  const end = Math.max(whole, ...parts.map((one) => one.start_ms + one.duration_ms), 0.001);
  const share = (value) => `${((100 * value) / end).toFixed(3)}%`;
  const rows = parts.map((one) => {
    const bar = element('span', { class: `span ${one.part}${one.code ? ' failed' : ''}` });
    // Properties, not an attribute: the policy of the page forbids styles in markup.
    bar.style.left = share(one.start_ms);
    bar.style.width = share(one.duration_ms);
    return element(
      'div',
      { class: 'lane' },
      element('span', { class: 'title' }, titleOf(one)),
      element('span', { class: 'track' }, bar),
      element('span', { class: 'number' }, milliseconds(one.duration_ms)),
    );
  });
  const what = `Timeline of ${milliseconds(whole)}: ${parts
    .map((one) => `${titleOf(one)} ${milliseconds(one.duration_ms)}`)
    .join(', ')}`;
  return element('div', { class: 'timeline', role: 'img', 'aria-label': what }, rows);
}

function facts(call) {
  const release = call.release === null ? null : `, release #${call.release}`;
  return [
    ['Status', statusOf(call)],
    ['Deployment', call.deployment
      ? [element('a', { href: `#/deployment/${encodeURIComponent(call.deployment)}` }, call.deployment), release]
      : 'none of this name'],
    ['Function', call.function ?? NOTHING],
    ['Called as', call.called],
    ['Method', call.method],
    ['Path', call.path],
    ['Started', element('time', { datetime: call.started }, call.started)],
    ['Duration', `${milliseconds(call.duration_ms)}${call.is_slow ? ', slow' : ''}`],
    ['Bodies', `request ${bytes(call.request_bytes)}, answer ${bytes(call.answer_bytes)}`],
  ].filter(([, value]) => value !== null && value !== undefined);
}

function logOf({ log }) {
  if (log.length === 0) return element('p', { class: 'quiet' }, 'no lines');
  const lines = log.map((one) =>
    element('span', { class: one.of_call ? 'own' : 'quiet' }, `${one.of_call ? '▸' : ' '} ${one.line}\n`),
  );
  return element('pre', { tabindex: '0', 'aria-label': 'Log lines of the call' }, lines);
}

function show(main, call) {
  const rows = call.parts.map((one) => [
    titleOf(one),
    milliseconds(one.start_ms),
    milliseconds(one.duration_ms),
    one.code ? element('span', { class: 'bad' }, one.code) : (one.result ?? NOTHING),
  ]);
  main.replaceChildren(
    element('p', {}, element('a', { href: '#/calls' }, '← Calls')),
    element('h1', {}, targetOf(call)),
    element('dl', {}, facts(call).flatMap(([title, value]) => [element('dt', {}, title), element('dd', {}, value)])),
    element('h2', {}, 'Timeline'),
    picture(call),
    table([['Part'], ['Began after', true], ['Took', true], ['Result']], rows),
    element('h2', {}, 'Log'),
    element(
      'p',
      { class: 'quiet' },
      'Lines marked ▸ name the request. The others were printed while it ran, by any call of the deployment.',
    ),
    logOf(call),
    element('p', { class: 'quiet' }, 'Request id ', element('code', {}, call.request_id)),
  );
}

/** Shows the call with this request id. */
export function callPage(main, id, signal) {
  main.replaceChildren(element('h1', {}, 'Call'), element('p', { class: 'quiet' }, 'loading …'));
  // The gateway takes no encoded slashes in addresses.
  const address = encodeURIComponent(id).replaceAll('%2F', '/');
  read(`/api/recent-calls/${address}`, { signal }).then(
    (call) => show(main, call),
    (error) => {
      if (signal.aborted) return;
      const isGone = error instanceof Refused && error.code === 'call_not_found';
      main.replaceChildren(
        element('p', {}, element('a', { href: '#/calls' }, '← Calls')),
        element('h1', {}, 'Call'),
        notice(isGone ? `${error.message}. Errors and slow calls are kept longer than others.` : error.message),
      );
    },
  );
  return { show() {} };
}
