// The wiring as a picture: for each deployment a lane from its addresses through the plugins of its chain to its
// workers; and the same as a table.

import { read } from './api.js';
import { drawn, element, notice, table } from './dom.js';
import { NOTHING } from './format.js';

/** Lanes in the picture; the filter finds the others. */
const LANES = 40;
/** Sizes in pixels. */
const [LINE, PAD, GAP, CHAR, BOX] = [20, 10, 36, 7.4, 26];
/** Characters of the longest label, and things of a kind in a lane. */
const [LABEL, ROUTES, DOTS] = [26, 4, 12];

const short = (text) => (text.length > LABEL ? `${text.slice(0, LABEL - 1)}…` : text);
const width = (text) => Math.ceil(Math.min(text.length, LABEL) * CHAR) + 2 * PAD;

function routesOf(lane, prefix) {
  const named = lane.routes.map(({ path, function: fn }) => (fn ? `${path} → ${fn}` : path));
  const all = [...named, `/${prefix}/${lane.name}/v1/…`];
  return all.length > ROUTES ? [...all.slice(0, ROUTES - 1), `${all.length - ROUTES + 1} more`] : all;
}

function label(x, y, text, kind, anchor = 'start') {
  const made = drawn('text', { x, y, class: kind, 'text-anchor': anchor });
  made.textContent = kind === 'quiet' ? text : short(text);
  if (made.textContent !== text) {
    const title = drawn('title', {});
    title.textContent = text;
    made.append(title);
  }
  return made;
}

/** A box with a label, which leads to a page. */
function box(x, y, text, href, kind) {
  const link = drawn('a', { href, class: kind });
  link.append(
    drawn('rect', { x, y: y - BOX / 2, width: width(text), height: BOX, rx: 6 }),
    label(x + width(text) / 2, y + 4.5, text, '', 'middle'),
  );
  return link;
}

/** Draws a lane whose top is at `top`. `at`: where the columns begin. */
function drawLane(lane, prefix, top, at) {
  const group = drawn('g', { class: 'lane' });
  const routes = routesOf(lane, prefix);
  const middle = top + (routes.length * LINE) / 2;
  const paths = [];
  routes.forEach((route, number) => {
    const y = top + number * LINE + LINE / 2;
    group.append(label(at.plugins - GAP, y + 4.5, route, 'route', 'end'));
    const [from, to] = [at.plugins - GAP + 6, at.plugins];
    paths.push(`M${from} ${y}C${to - 12} ${y} ${to - 22} ${middle} ${to} ${middle}`);
  });
  paths.push(`M${at.plugins} ${middle}H${at.workers}`);
  group.append(drawn('path', { d: paths.join(''), class: 'wire' }));
  let x = at.plugins;
  for (const plugin of lane.plugins) {
    const kind = `plugin ${plugin.status}${plugin.partly ? ' partly' : ''}`;
    group.append(box(x, middle, plugin.name, `#/plugins/${encodeURIComponent(plugin.name)}`, kind));
    x += width(plugin.name) + GAP / 2;
  }
  group.append(
    box(at.deployments, middle, lane.name, `#/deployment/${encodeURIComponent(lane.name)}`, `deployment ${lane.state}`),
  );
  for (let number = 0; number < Math.min(lane.workers, DOTS); number += 1)
    group.append(
      drawn('circle', {
        cx: at.workers + 8 + number * 16,
        cy: middle,
        r: 6,
        class: number < lane.ready ? 'worker ready' : 'worker',
      }),
    );
  const busy = lane.in_flight + lane.queued > 0 ? `, ${lane.in_flight} in flight, ${lane.queued} queued` : '';
  const words = `${lane.ready} of ${lane.workers} ready${busy}`;
  group.append(label(at.workers + 16 * Math.min(lane.workers, DOTS) + 8, middle + 4.5, words, 'quiet'));
  return [group, routes.length * LINE + PAD * 1.6];
}

function picture({ lanes, prefix }) {
  const most = (values) => Math.max(0, ...values);
  const routes = most(lanes.flatMap((lane) => routesOf(lane, prefix)).map(width));
  const plugins = most(
    lanes.map((lane) => lane.plugins.reduce((sum, plugin) => sum + width(plugin.name) + GAP / 2, GAP / 2)),
  );
  const names = most([...lanes.map((lane) => width(lane.name)), width('Deployments')]);
  const at = { plugins: routes + GAP };
  at.deployments = at.plugins + plugins;
  at.workers = at.deployments + names + GAP;
  const words = 'The wiring; the table below has the same';
  const svg = drawn('svg', { class: 'wiring', role: 'group', 'aria-label': words });
  for (const [x, title] of [
    [0, 'Addresses'],
    [at.plugins, plugins > GAP ? 'Plugins' : ''],
    [at.deployments, 'Deployments'],
    [at.workers, 'Workers'],
  ])
    svg.append(label(x, 14, title, 'head'));
  let top = 30;
  for (const lane of lanes) {
    const [group, height] = drawLane(lane, prefix, top, at);
    svg.append(group);
    top += height;
  }
  const size = [at.workers + 16 * DOTS + 240, top];
  svg.setAttribute('viewBox', `0 0 ${size[0]} ${size[1]}`);
  svg.setAttribute('width', size[0]);
  svg.setAttribute('height', size[1]);
  return svg;
}

const COLUMNS = [['Deployment'], ['State'], ['Routes'], ['Plugins, in order'], ['Workers'], ['Calls']];

function rows(lanes) {
  return lanes.map((lane) => [
    element('a', { href: `#/deployment/${encodeURIComponent(lane.name)}` }, lane.name),
    element('span', { class: `state ${lane.state}` }, lane.state),
    lane.routes.map(({ path, function: fn }) => (fn ? `${path} → ${fn}` : path)).join(', ') || NOTHING,
    lane.plugins.map(({ name, partly }) => (partly ? `${name} (some functions)` : name)).join(', ') || NOTHING,
    `${lane.ready} / ${lane.workers}`,
    `${lane.in_flight} in flight, ${lane.queued} queued`,
  ]);
}

/** What the user has chosen, kept while other pages are shown. */
const chosen = { filter: '' };

export function wiringPage(main, signal) {
  const shown = element('div', {}, element('p', { class: 'quiet' }, 'loading …'));
  const count = element('span', { class: 'quiet', role: 'status' });
  const filter = element('input', {
    type: 'search',
    id: 'filter',
    placeholder: 'deployment, route or plugin',
    value: chosen.filter,
    oninput: () => {
      chosen.filter = filter.value;
      load();
    },
  });
  main.replaceChildren(
    element('h1', {}, 'Wiring'),
    element('div', { class: 'bar' }, element('label', {}, 'Filter ', filter), count),
    shown,
  );
  let latest = 0;
  let text = '';
  let isLoading = false;

  async function load() {
    latest += 1;
    const own = latest;
    isLoading = true;
    try {
      const wiring = await read(`/api/wiring?first=${LANES}&filter=${encodeURIComponent(chosen.filter)}`, { signal });
      if (own !== latest || signal.aborted) return;
      const { matching, lanes } = wiring;
      count.textContent = lanes.length < matching ? `the first ${lanes.length} of ${matching}` : String(matching);
      // What has not changed is left alone: someone may be reading it.
      if (text === JSON.stringify(wiring)) return;
      text = JSON.stringify(wiring);
      shown.replaceChildren(
        ...(lanes.length > 0
          ? [
              element(
                'div',
                { class: 'frame', tabindex: '0', role: 'region', 'aria-label': 'Picture' },
                picture(wiring),
              ),
              element(
                'details',
                {},
                element('summary', {}, 'The same as a table'),
                element('div', {}, table(COLUMNS, rows(lanes), 'cards')),
              ),
            ]
          : [element('p', { class: 'quiet' }, 'Nothing fits.')]),
      );
    } catch (error) {
      if (!signal.aborted && own === latest) shown.replaceChildren(notice(error.message));
    } finally {
      if (own === latest) isLoading = false;
    }
  }

  return {
    show() {
      if (!isLoading) load();
    },
  };
}
