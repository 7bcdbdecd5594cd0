// The page of asynchronous calls: a list by deployment, function and state, one part of it at a time, and what can be
// done with all calls of a filter.

import { change, read, whyNot } from './api.js';
import { button, confirmed, element, notice } from './dom.js';
import { ago, bytes, NOTHING } from './format.js';

const STATES = [
  ['', 'All'],
  ['queued', 'Queued'],
  ['running', 'Running'],
  ['dead', 'Dead'],
  ['done', 'Done'],
  ['cancelled', 'Cancelled'],
];
const ENDS = ['dead', 'done', 'cancelled'];
/** Calls that are shown at a time. */
const ROWS = 50;
/** The list is asked for again after so long, and after so many times as long as it took. */
const PAUSE = 2000;
const SHARE = 20;
/** Names that are offered. */
const OFFERED = 200;
const HEADS = ['Call', 'State', 'Accepted', 'Tries', 'Error', 'Id'];
const AGE = 2;

/** The address of the list of a deployment's calls. */
export function linkOf(deployment) {
  return `#/queue/${encodeURIComponent(deployment)}`;
}

/** How many calls of a deployment wait, are tried and are dead, in words. */
export function countsOf(counts) {
  const states = ['queued', 'running', 'dead'].filter((state) => counts?.[state] > 0);
  return states.map((state) => `${counts[state]} ${state}`).join(', ') || NOTHING;
}

/** Whether an id is whole, which is enough to take a call back: who may only read sees its first digits. */
const isWhole = (id) => !id.endsWith('…');

/** What a call calls: the report of a call's end is a call of its own, of the same function. */
export function calledBy({ deployment, function: name, callback_of: reported }) {
  return `${reported ? 'callback of ' : ''}${deployment}/${name}`;
}

function rowOf(call) {
  const { id, origin, state, accepted, tries, error } = call;
  const called = calledBy(call);
  const failure = error ? `${error.code}: ${error.message}` : NOTHING;
  const cells = [
    element(
      'span',
      {},
      isWhole(id) ? element('a', { href: `#/queued/${id}` }, called) : called,
      origin ? element('span', { class: 'quiet' }, ` ${origin}`) : null,
    ),
    element('span', { class: `state ${state}` }, state),
    element('time', { datetime: accepted, title: accepted }, ago(accepted)),
    String(tries),
    element('span', { class: 'message' }, failure.slice(0, 300)),
    element('code', {}, isWhole(id) ? `${id.slice(0, 8)}…` : id),
  ];
  const labelled = cells.map((cell, at) => element('td', { 'data-label': at > 0 ? HEADS[at] : null }, cell));
  return element('tr', { 'data-id': id }, labelled);
}

/** A field for a name, with others that are offered. */
function field(value, list) {
  return element('input', { type: 'search', autocomplete: 'off', spellcheck: 'false', value, list });
}

export function queuePage(main, name, signal, caller) {
  const wanted = { deployment: name ?? '', function: '', state: '' };
  /** Where the parts before the one that is shown begin; the newest calls have no number. */
  let before = [undefined];
  let older;
  let rows = new Map();
  let asked = 0;
  /** When the list is asked for again; never after a refusal. */
  let due = 0;
  const offered = element('datalist', { id: 'offered' });
  const deployment = field(wanted.deployment, 'offered');
  const fn = field('');
  const counts = element('p', { class: 'quiet' });
  const message = element('div', { role: 'status' });
  const body = element('tbody');
  const choices = STATES.map(([state, title]) => button(title, () => show({ state })));
  const newer = button('Newer calls', () => turn(() => before.pop()));
  const next = button('Older calls', () => turn(() => before.push(older)));
  const redrive = button('Queue dead calls again', () => changeAll('redrive'));
  const purge = button('Remove ended calls', () => changeAll('purge'), { kind: 'danger' });
  const why = element('p', { class: 'quiet' });

  /** Who may change the calls of all deployments, or of one. */
  function reason() {
    if (wanted.deployment) return whyNot(caller, wanted.deployment);
    return caller.may.includes('admin') ? undefined : `the token "${caller.name}" may only: ${caller.may.join(', ')}`;
  }

  function queryOf(names) {
    return new URLSearchParams(names.filter((key) => wanted[key]).map((key) => [key, wanted[key]]));
  }

  async function load() {
    const number = (asked += 1);
    const begun = performance.now();
    due = Number.POSITIVE_INFINITY;
    const query = queryOf(['deployment', 'function', 'state']);
    query.set('limit', ROWS);
    if (before.at(-1) !== undefined) query.set('before', before.at(-1));
    try {
      const list = await read(`/api/calls?${query}`, { signal });
      if (number !== asked) return;
      draw(list);
      due = performance.now() + Math.max(PAUSE, SHARE * (performance.now() - begun));
    } catch (error) {
      if (number === asked && !signal.aborted) {
        body.replaceChildren();
        counts.replaceChildren(notice(error.message));
      }
    }
  }

  function draw({ waiting, bytes: held, calls, before: rest }) {
    older = rest;
    const focused = document.activeElement?.closest?.('tr[data-id]')?.dataset.id;
    const drawn = new Map();
    for (const call of calls) {
      const text = JSON.stringify(call);
      const row = rows.get(text) ?? rowOf(call);
      row.cells[AGE].firstChild.textContent = ago(call.accepted);
      drawn.set(text, row);
    }
    rows = drawn;
    body.replaceChildren(...drawn.values());
    if (focused && !document.activeElement?.closest?.('tr[data-id]'))
      [...body.children].find((row) => row.dataset.id === focused)?.querySelector('a')?.focus();
    const shown = calls.length === 0 ? 'No calls of this kind.' : `Shown: ${calls.length}.`;
    counts.textContent = `${shown} Calls that have not ended: ${waiting}. Held: ${bytes(held)}.`;
    newer.disabled = before.length === 1;
    next.disabled = older === undefined;
  }

  /** Shows the calls of another filter. */
  function show(changed) {
    Object.assign(wanted, changed);
    before = [undefined];
    STATES.forEach(([state], at) => choices[at].setAttribute('aria-pressed', String(state === wanted.state)));
    const no = reason();
    for (const one of [redrive, purge]) {
      one.disabled = Boolean(no);
      one.title = no ?? '';
    }
    why.textContent = no ?? '';
    load();
  }

  function turn(how) {
    how();
    load();
  }

  async function changeAll(what) {
    const isPurge = what === 'purge';
    const state = ENDS.includes(wanted.state) ? wanted.state : undefined;
    const of = `${wanted.deployment || 'all deployments'}${wanted.function ? `, function ${wanted.function}` : ''}`;
    const question = isPurge
      ? `Remove all ${state ?? 'ended'} calls of ${of}, with their results?`
      : `Queue all dead calls of ${of} again?`;
    if (!(await confirmed(question))) return;
    const query = queryOf(['deployment', 'function']);
    if (isPurge && state) query.set('state', state);
    try {
      const { calls } = await (await change(`/api/calls/${what}?${query}`, {})).json();
      const count = calls === 1 ? '1 call was' : `${calls} calls were`;
      message.replaceChildren(element('p', {}, `${count} ${isPurge ? 'removed' : 'queued again'}`));
    } catch (error) {
      message.replaceChildren(notice(error.message));
    }
    if (!signal.aborted) show({});
  }

  function choose() {
    const [chosen, named] = [deployment.value.trim(), fn.value.trim()];
    if (chosen !== wanted.deployment || named !== wanted.function) show({ deployment: chosen, function: named });
  }

  for (const input of [deployment, fn]) input.addEventListener('change', choose);
  main.replaceChildren(
    element('h1', {}, 'Asynchronous calls'),
    element(
      'form',
      {
        class: 'bar',
        role: 'search',
        onsubmit: (event) => {
          event.preventDefault();
          choose();
        },
      },
      element('label', {}, 'Deployment ', deployment),
      element('label', {}, 'Function ', fn),
      offered,
      element('div', { class: 'choice', role: 'group', 'aria-label': 'State' }, choices),
    ),
    counts,
    message,
    element(
      'div',
      { class: 'frame', tabindex: '0', role: 'region', 'aria-label': 'Table of asynchronous calls' },
      element(
        'table',
        { class: 'cards' },
        element('thead', {}, element('tr', {}, HEADS.map((head) => element('th', { scope: 'col' }, head)))),
        body,
      ),
    ),
    element('p', { class: 'bar' }, newer, next, redrive, purge),
    why,
  );
  show({});
  return {
    show({ deployments }) {
      const names = deployments.slice(0, OFFERED).map((line) => line.name);
      if (names.join() !== [...offered.children].map((one) => one.value).join())
        offered.replaceChildren(...names.map((value) => element('option', { value })));
      if (performance.now() >= due) load();
    },
  };
}
