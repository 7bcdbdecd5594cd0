// The pages of plugins: all of them with their figures; and one with settings, grants, cost and verdicts of its hooks,
// breakers, last failures, counters and its recording.

import { read } from './api.js';
import { effect, microseconds } from './chain.js';
import { element, notice, table } from './dom.js';
import { ago, NOTHING } from './format.js';
import { recordingSection } from './recording.js';

/** What the kinds of failures mean to callers and operators. */
const KINDS = {
  trap: 'the plugin crashed',
  timeout: 'it took longer than its timeout',
  bad_output: 'its verdict breaks the rules of the interface',
  refused_config: 'a new instance refused its configuration',
  breaker_open: 'it failed too often: not asked until the breaker lets a trial through',
  overloaded: 'all instances were busy: not asked',
  no_memory: 'all plugins together had no memory left',
  panic: 'the engine failed: off until it is loaded again',
  process_ended: 'its process ended',
  no_process: 'its process is being started again',
};

function facts(pairs) {
  return element(
    'dl',
    {},
    pairs
      .filter(([, value]) => value !== undefined && value !== null && value !== '')
      .flatMap(([title, value]) => [element('dt', {}, title), element('dd', {}, value)]),
  );
}

const list = (values) => values.join(', ') || NOTHING;
const counts = (figures) =>
  Object.entries(figures)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ') || NOTHING;

function settingsOf(plugin) {
  const { settings, grants, config_keys: keys } = plugin;
  return facts([
    ['File', settings.path],
    ['SHA-256', plugin.sha256],
    ['Mode', plugin.mode],
    ['Deployments', list(settings.deployments)],
    ['Functions', list(settings.functions)],
    ['Except', list(settings.exclude)],
    ['Timeout', settings.timeout],
    ['Memory', `${settings.max_memory} for each of at most ${settings.max_instances} instances at a time`],
    ['Instances', `${settings.instances}, replaced after ${settings.max_uses} hook calls`],
    ['Isolation', settings.isolation],
    ['Recorded to', settings.record],
    ['Grants', list(grants)],
    ['Configuration', keys.length > 0 ? `${keys.join(', ')} (values are not shown)` : NOTHING],
  ]);
}

function stateOf(plugin) {
  return facts([
    ['State', element('span', { class: `state ${plugin.status}` }, plugin.status)],
    ['Error', plugin.error],
    [
      'Breakers',
      plugin.open_breakers > 0 ? `${plugin.open_breakers} open: ${list(plugin.open_for ?? [])}` : 'closed',
    ],
    ['Refused', `${plugin.breaker_refusals} by breakers, ${plugin.memory_refusals} for lack of memory`],
    ['Observed', plugin.mode === 'observe' ? `${plugin.observed} verdicts that were not applied` : undefined],
    ['Instances made', String(plugin.instances)],
    ['Process', plugin.process_restarts > 0 ? `started again ${plugin.process_restarts} times` : undefined],
    [
      'Counters',
      list(Object.entries(plugin.counters).map(([name, count]) => `${name} = ${count}`)),
    ],
  ]);
}

const HOOKS = [['Hook'], ['Hook calls', true], ['Mean', true], ['Verdicts'], ['Failures'], ['If it fails']];

function hooksOf(plugin) {
  return table(
    HOOKS,
    plugin.hook_figures.map((hook) => [
      hook.hook,
      String(hook.count),
      microseconds(hook.mean_microseconds),
      counts(hook.verdicts),
      counts(hook.failures),
      effect(plugin, hook),
    ]),
    'cards',
    'Hooks',
  );
}

const ERRORS = [['Last'], ['Times', true], ['Hook'], ['For'], ['What'], ['Message']];

function errorsOf({ last_errors: errors }) {
  if (errors.length === 0) return element('p', { class: 'quiet' }, 'No hook call has failed since it was loaded.');
  return table(
    ERRORS,
    errors.map((one) => [
      element('time', { datetime: one.last, title: `${one.last}, the first ${one.first}` }, ago(one.last)),
      String(one.count),
      one.hook,
      one.function ? `${one.deployment}/${one.function}` : one.deployment,
      element('span', { class: 'kind' }, `${one.kind}: ${KINDS[one.kind] ?? ''}`),
      element('span', { class: 'message' }, one.message),
    ]),
    'cards',
    'Last errors',
  );
}

/** A page that reads the plugins each time it is shown, and draws what `choose` takes of them when that has changed. */
function following(body, signal, choose, draw) {
  let text = '';
  let isLoading = false;

  async function load() {
    isLoading = true;
    try {
      const chosen = choose(await read('/api/plugins', { signal }));
      if (text === JSON.stringify(chosen)) return;
      text = JSON.stringify(chosen);
      body.replaceChildren(...draw(chosen));
    } catch (error) {
      if (!signal.aborted) body.replaceChildren(notice(error.message));
      text = '';
    } finally {
      isLoading = false;
    }
  }

  return {
    show() {
      if (!isLoading && !signal.aborted) load();
    },
  };
}

export function pluginPage(main, name, signal, { name: who, may }) {
  const reason = may.includes('admin') ? undefined : `the token "${who}" may only: ${may.join(', ')}`;
  const body = element('div', {}, element('p', { class: 'quiet' }, 'loading …'));
  const recording = recordingSection(name, signal, reason);
  main.replaceChildren(
    element('p', {}, element('a', { href: '#/plugins' }, '← Plugins')),
    element('h1', {}, name),
    body,
    recording,
  );
  const choose = (plugins) => plugins.find((plugin) => plugin.name === name) ?? null;
  return following(body, signal, choose, (plugin) => {
    recording.hidden = !plugin?.settings;
    if (!plugin) return [notice('There is no such plugin.')];
    if (!plugin.settings) return [notice(plugin.error ?? 'It is not loaded.')];
    return [
      stateOf(plugin),
      element('h2', {}, 'Hooks'),
      hooksOf(plugin),
      element('h2', {}, 'Last errors'),
      errorsOf(plugin),
      element('h2', {}, 'Settings'),
      settingsOf(plugin),
    ];
  });
}

const COLUMNS = [
  ['Plugin'],
  ['State'],
  ['Hook calls', true],
  ['Mean', true],
  ['Refusals', true],
  ['Observed', true],
  ['Failures', true],
  ['Last error'],
];

function rowOf(one) {
  const [error] = one.last_errors ?? [];
  return [
    element('a', { href: `#/plugins/${encodeURIComponent(one.name)}` }, one.name),
    element('span', { class: `state ${one.status}` }, one.status),
    String(one.calls),
    one.calls > 0 ? microseconds(one.mean_microseconds) : NOTHING,
    String(one.refusals),
    String(one.observed),
    String(one.failures),
    error ? `${error.kind}, ${ago(error.last)}` : NOTHING,
  ];
}

export function pluginsPage(main, signal) {
  const body = element('div', {}, element('p', { class: 'quiet' }, 'loading …'));
  main.replaceChildren(element('h1', {}, 'Plugins'), body);
  return following(
    body,
    signal,
    (plugins) => plugins,
    (plugins) => [
      plugins.length > 0
        ? table(COLUMNS, plugins.map(rowOf), 'cards')
        : element('p', { class: 'quiet' }, 'No plugins are configured.'),
    ],
  );
}
