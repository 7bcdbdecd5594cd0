// The last calls: those of the page of all deployments, or those of one.

import { button, element, notice } from './dom.js';
import { milliseconds } from './format.js';
import { statusOf, targetOf } from './timeline.js';

const KINDS = [
  ['all', 'All'],
  ['errors', 'Errors'],
  ['slow', 'Slow'],
];
/** Rows that are shown. */
const ROWS = 100;

/** The address of the page of a call. */
export function linkOf(id) {
  return `#/call/${encodeURIComponent(id)}`;
}

/** A field that leads to a call by its request id. */
export function findForm() {
  const field = element('input', { type: 'search', autocomplete: 'off', spellcheck: 'false', maxlength: '128' });
  return element(
    'form',
    {
      class: 'bar',
      role: 'search',
      onsubmit: (event) => {
        event.preventDefault();
        if (field.value.trim()) location.hash = linkOf(field.value.trim());
      },
    },
    element('label', {}, 'Request id ', field),
    element('button', {}, 'Find the call'),
  );
}

/** The last calls, of one deployment if it is named. `choose` has those of a kind sent. */
export function callList(deployment, choose) {
  const body = element('tbody');
  const rows = new Map();
  let kind = 'all';
  let calls = [];
  const message = element('p', { class: 'quiet', role: 'status' }, 'loading …');
  const filter = element('input', { type: 'search', placeholder: 'function, status or id', oninput: () => draw() });
  const choices = KINDS.map(([value, title]) => {
    const choice = button(title, () => want(value));
    choice.setAttribute('aria-pressed', String(value === kind));
    return choice;
  });
  const kindOf = (head) => (head === 'Duration' ? 'number' : null);
  const heads = ['Started', ...(deployment ? [] : ['Deployment']), 'Call', 'Status', 'Duration', 'Request id'];

  function rowOf(call) {
    const known = rows.get(call.number);
    if (known) return known;
    const cells = [
      element('time', { datetime: call.started }, call.started.slice(11, 23)),
      ...(deployment ? [] : [call.deployment ?? '–']),
      element('a', { href: linkOf(call.request_id) }, targetOf(call)),
      statusOf(call),
      element('span', { class: call.is_slow ? 'slow' : null }, milliseconds(call.duration_ms)),
      element('code', {}, call.request_id),
    ];
    return element(
      'tr',
      { 'data-call': call.request_id },
      cells.map((cell, at) =>
        element('td', { class: kindOf(heads[at]), 'data-label': at > 0 ? heads[at] : null }, cell),
      ),
    );
  }

  function draw() {
    const wanted = filter.value.toLowerCase();
    const texts = (call) => [call.request_id, targetOf(call), call.deployment, call.code, call.status].join(' ');
    const shown = calls.filter((call) => texts(call).toLowerCase().includes(wanted));
    const drawn = shown.map((call) => [call.number, rowOf(call)]);
    rows.clear();
    for (const [key, row] of drawn) rows.set(key, row);
    const focused = document.activeElement?.closest?.('tr[data-call]');
    body.replaceChildren(...drawn.map(([, row]) => row));
    if (focused?.isConnected) focused.querySelector('a').focus();
    const all = calls.length;
    message.textContent = shown.length === all ? `${all} calls` : `${shown.length} of ${all}`;
  }

  function want(value) {
    kind = value;
    choices.forEach((choice, at) => choice.setAttribute('aria-pressed', String(KINDS[at][0] === kind)));
    choose(kind);
  }

  /** Adds the calls of an event, which has the newest first. */
  function add({ whole, calls: added }) {
    calls = (whole ? added : [...added, ...calls]).slice(0, ROWS);
    draw();
  }

  const section = element(
    'section',
    { 'aria-label': 'Last calls' },
    element(
      'div',
      { class: 'bar' },
      element('div', { class: 'choice', role: 'group', 'aria-label': 'Kind of calls' }, choices),
      element('label', {}, 'Calls with ', filter),
    ),
    message,
    element(
      'div',
      { class: 'frame', tabindex: '0', role: 'region', 'aria-label': 'Table of calls' },
      element(
        'table',
        { class: 'cards' },
        element(
          'thead',
          {},
          element('tr', {}, heads.map((head) => element('th', { scope: 'col', class: kindOf(head) }, head))),
        ),
        body,
      ),
    ),
  );
  return { section, add, refuse: (reason) => message.replaceChildren(notice(reason)) };
}

/** The page of the last calls of all deployments. */
export function callsPage(main, choose) {
  const list = callList(undefined, choose);
  main.replaceChildren(element('h1', {}, 'Last calls'), findForm(), list.section);
  return { show() {}, calls: list.add };
}
