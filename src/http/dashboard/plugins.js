// The page of plugins: state, cost, verdicts, breakers, counters.

import { read } from './api.js';
import { element, notice, table } from './dom.js';
import { NOTHING } from './format.js';

function details(plugin) {
  const facts = [
    ['Hooks', plugin.hooks.join(', ') || NOTHING],
    ['Mode', plugin.mode || NOTHING],
    ['SHA-256', plugin.sha256 || NOTHING],
    ['Error', plugin.error],
    [
      'Breakers',
      plugin.open_breakers > 0 ? `${plugin.open_breakers} open: ${(plugin.open_for ?? []).join(', ')}` : 'closed',
    ],
    ['Refused', `${plugin.breaker_refusals} by breakers, ${plugin.memory_refusals} for lack of memory`],
    ['Instances', `${plugin.instances} made; its process was started again ${plugin.process_restarts} times`],
    [
      'Counters',
      Object.entries(plugin.counters)
        .map(([name, count]) => `${name} = ${count}`)
        .join(', ') || NOTHING,
    ],
  ].filter(([, value]) => value);
  return element(
    'details',
    {},
    element('summary', {}, plugin.name),
    element(
      'div',
      {},
      element(
        'dl',
        {},
        facts.flatMap(([title, value]) => [element('dt', {}, title), element('dd', {}, value)]),
      ),
    ),
  );
}

export function pluginsPage(main, signal) {
  const body = element('div', {}, element('p', { class: 'quiet' }, 'loading …'));
  main.replaceChildren(element('h1', {}, 'Plugins'), body);
  const columns = [
    ['Plugin'],
    ['State'],
    ['Hook calls', true],
    ['Mean', true],
    ['Refusals', true],
    ['Observed', true],
    ['Failures', true],
  ];
  read('/api/plugins', { signal })
    .then((plugins) => {
      if (plugins.length === 0)
        return body.replaceChildren(element('p', { class: 'quiet' }, 'No plugins are configured.'));
      const rows = plugins.map((one) => [
        one.name,
        element('span', { class: `state ${one.status}` }, one.status),
        String(one.calls),
        `${one.mean_microseconds.toFixed(1)} µs`,
        String(one.refusals),
        String(one.observed),
        String(one.failures),
      ]);
      return body.replaceChildren(
        table(columns, rows, 'cards'),
        element('h2', {}, 'Details'),
        ...plugins.map(details),
      );
    })
    .catch((error) => {
      if (!signal.aborted) body.replaceChildren(notice(error.message));
    });
  return { show() {} };
}
