// What the calls of a deployment run through, and the names of its variables.

import { element, table } from './dom.js';
import { NOTHING } from './format.js';

const COLUMNS = [['Plugin'], ['Hook'], ['For'], ['Hook calls', true], ['Mean', true], ['Share', true], ['If it fails']];

export function microseconds(value) {
  if (value === null || value === undefined) return NOTHING;
  return value < 1000 ? `${value.toFixed(1)} µs` : `${(value / 1000).toFixed(2)} ms`;
}

function scope({ functions, exclude }) {
  const all = functions.includes('*') ? 'all functions' : functions.join(', ');
  return exclude.length > 0 ? `${all}; not ${exclude.join(', ')}` : all;
}

/** What happens when a hook fails. */
export function effect(plugin, hook) {
  if (plugin.mode === 'observe') return 'nothing: it only observes';
  return hook.on_error === 'skip' ? 'the call goes on' : 'the call is refused';
}

function rows(plugins) {
  return plugins.flatMap((plugin) =>
    plugin.hooks.map((hook) => [
      element(
        'span',
        { class: `state ${plugin.status}` },
        element('a', { href: `#/plugins/${encodeURIComponent(plugin.name)}` }, plugin.name),
      ),
      hook.hook,
      hook.hook.endsWith('load') ? 'loads' : scope(plugin),
      String(hook.count),
      microseconds(hook.mean_microseconds),
      hook.share === null ? NOTHING : `${Math.round(hook.share * 100)} %`,
      effect(plugin, hook),
    ]),
  );
}

/** How much of a call plugins take. */
function part({ calls, in_plugins: inPlugins }) {
  if (!calls?.count || !inPlugins?.count) return undefined;
  const time = (cost) => cost.count * cost.mean_microseconds;
  const share = Math.round((time(inPlugins) / time(calls)) * 100);
  const mean = microseconds(inPlugins.mean_microseconds);
  return `${inPlugins.count} of ${calls.count} calls ran through plugins, ${mean} on average: ${share} % of the time
    of all calls.`;
}

/** The sections with the plugins and the variables of a deployment. */
export function chainSections(chain) {
  const { plugins, variables } = chain;
  return [
    element('h2', {}, 'Plugins of its chain'),
    ...(plugins.length > 0
      ? [
          table(COLUMNS, rows(plugins), 'cards', 'Plugins of its chain'),
          element(
            'p',
            { class: 'quiet' },
            part(chain) ?? '',
            ' Before-hooks run in this order, after-hooks in reverse. Hook calls and means are those of a plugin in',
            ' all deployments.',
          ),
        ]
      : [element('p', { class: 'quiet' }, 'No plugin applies to it.')]),
    element('h2', {}, 'Environment'),
    variables.length > 0
      ? element(
          'ul',
          { class: 'names' },
          variables.map((name) => element('li', {}, element('code', {}, name))),
        )
      : element('p', { class: 'quiet' }, 'No variables of its own.'),
    element('p', { class: 'quiet' }, 'Names only. Processes also have PATH, HOME, LANG and TZ of the gateway.'),
  ];
}
