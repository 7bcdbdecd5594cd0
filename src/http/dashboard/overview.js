// The page of all deployments: sorted, filtered, kept up to date.

import { deployArea } from './deploy.js';
import { button, chart, element } from './dom.js';
import { ago, bytes, milliseconds, NOTHING, rate } from './format.js';
import { countsOf } from './queue.js';

/** Title, value to sort by, what is shown, whether it is a number. */
const COLUMNS = [
  [
    'Name',
    (line) => line.name,
    (line) => element('a', { href: `#/deployment/${encodeURIComponent(line.name)}` }, line.name),
  ],
  ['State', (line) => line.state, (line) => element('span', { class: `state ${line.state}` }, line.state)],
  ['Release', (line) => line.release ?? -1, (line) => (line.release === null ? NOTHING : `#${line.release}`), true],
  ['Workers', (line) => line.workers.ready, (line) => `${line.workers.ready} / ${line.workers.all}`, true],
  ['Calls/s', (line) => line.calls_per_second ?? -1, (line) => rate(line.calls_per_second), true],
  ['p50', (line) => line.p50_ms ?? -1, (line) => milliseconds(line.p50_ms), true],
  ['p99', (line) => line.p99_ms ?? -1, (line) => milliseconds(line.p99_ms), true],
  [
    'Errors/s',
    (line) => line.errors_per_second ?? -1,
    (line) => element('span', { class: line.errors_per_second > 0 ? 'bad' : null }, rate(line.errors_per_second)),
    true,
  ],
  ['Memory', (line) => line.memory, (line) => bytes(line.memory), true],
  ['Last use', (line) => line.last_used ?? '', (line) => ago(line.last_used), true],
  [
    'Asynchronous',
    (line) => (line.async ? line.async.queued + line.async.running + line.async.dead : -1),
    (line) => countsOf(line.async),
    true,
  ],
  ['Last hour', (line) => line.history.calls.reduce((all, one) => all + one, 0), (line) => chart(line.history)],
];

/** Rows that are shown unless all are asked for: laying out thousands takes a second. */
const ROWS = 200;

/** What the user has chosen, kept while other pages are shown. */
const chosen = { filter: '', column: 0, down: false, all: false };

/** Why the caller may deploy nothing at all; nothing if they may. */
function whyNoDeploy({ name, may }) {
  const allowed = may.some((one) => one === 'admin' || one.startsWith('deploy:'));
  return allowed ? undefined : `The token "${name}" deploys nothing, it may only: ${may.join(', ')}`;
}

export function overviewPage(main, caller) {
  let latest = [];
  const count = element('span', { class: 'quiet', role: 'status' });
  const more = button('Show all rows', () => {
    chosen.all = true;
    arrange();
  });
  const rows = new Map();
  const body = element('tbody');
  const filter = element('input', {
    type: 'search',
    id: 'filter',
    placeholder: 'name or state',
    value: chosen.filter,
    oninput: () => {
      chosen.filter = filter.value;
      arrange();
    },
  });
  const heads = COLUMNS.map(([title, , , number], at) =>
    element(
      'th',
      { scope: 'col', class: number ? 'number' : null },
      element('button', { type: 'button', onclick: () => sortBy(at) }, title),
    ),
  );
  main.replaceChildren(
    element('h1', {}, 'Deployments'),
    element('div', { class: 'bar' }, element('label', {}, 'Filter ', filter), count),
    deployArea(whyNoDeploy(caller)),
    element(
      'div',
      { class: 'frame' },
      element('table', { class: 'cards' }, element('thead', {}, element('tr', {}, heads)), body),
    ),
    element('p', {}, more),
  );

  function sortBy(at) {
    // Figures are first looked at from the top.
    chosen.down = chosen.column === at ? !chosen.down : Boolean(COLUMNS[at][3]);
    chosen.column = at;
    arrange();
  }

  function rowOf(line) {
    const text = JSON.stringify(line);
    const known = rows.get(line.name);
    // What has not changed is left alone, except for the time since the last use.
    if (known?.text === text) {
      known.row.cells[9].textContent = ago(line.last_used);
      return known.row;
    }
    const row = element(
      'tr',
      { 'data-name': line.name },
      COLUMNS.map(([title, , shown, number], at) =>
        element('td', { class: number ? 'number' : null, 'data-label': at > 0 ? title : null }, shown(line)),
      ),
    );
    rows.set(line.name, { text, row });
    return row;
  }

  function arrange() {
    const wanted = chosen.filter.toLowerCase();
    const shown = latest.filter((line) => line.name.toLowerCase().includes(wanted) || line.state.includes(wanted));
    const value = COLUMNS[chosen.column][1];
    const order = (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : a.name < b.name ? -1 : 1);
    shown.sort(chosen.down ? (a, b) => order(b, a) : order);
    heads.forEach((head, at) => {
      if (at === chosen.column) head.setAttribute('aria-sort', chosen.down ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
    });
    const wantedRows = (chosen.all ? shown : shown.slice(0, ROWS)).map(rowOf);
    more.hidden = wantedRows.length === shown.length;
    const isSame =
      wantedRows.length === body.children.length && wantedRows.every((row, at) => body.children[at] === row);
    if (!isSame) {
      const focused = document.activeElement?.closest?.('tr[data-name]')?.dataset.name;
      body.replaceChildren(...wantedRows);
      if (focused) rows.get(focused)?.row.querySelector('a')?.focus();
    }
    count.textContent = shown.length === latest.length ? `${latest.length}` : `${shown.length} of ${latest.length}`;
  }

  return {
    show({ deployments }) {
      latest = deployments;
      const names = new Set(latest.map((line) => line.name));
      for (const name of rows.keys()) if (!names.has(name)) rows.delete(name);
      arrange();
    },
  };
}
