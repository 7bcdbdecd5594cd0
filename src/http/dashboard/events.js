// The one connection of the page: figures, calls, log lines and changes come over it. It is opened again when it ends.

import { events } from './api.js';

/** The first wait before another attempt, and the longest. */
const FIRST = 1000;
const LONGEST = 30_000;

/**
 * Follows what `query` asks for, until `close` is called. `on` has a function for each event by its name, and `live`,
 * `lost(error, wait)` and `unauthorized(error)` for the connection.
 */
export function follow(query, on) {
  let wait = FIRST;
  let timer;
  const leave = new AbortController();

  function again(error) {
    // Not all pages at once after a restart.
    const pause = wait * (0.75 + Math.random() / 2);
    wait = Math.min(2 * wait, LONGEST);
    on.lost(error, pause);
    timer = setTimeout(open, pause);
  }

  async function open() {
    try {
      await events(`/api/events?${query}`, leave.signal, (data, name) => {
        wait = FIRST;
        on.live();
        on[name]?.(JSON.parse(data));
      });
      if (!leave.signal.aborted) again();
    } catch (error) {
      if (leave.signal.aborted) return;
      if (error.status === 401 || error.status === 429) on.unauthorized(error);
      else again(error);
    }
  }

  open();
  return {
    close() {
      clearTimeout(timer);
      leave.abort();
    },
  };
}

/** The figures of all deployments after an event that has those that are new. */
export function merged(overview, { whole, gone, deployments, ...head }) {
  const lines = new Map(whole || !overview ? [] : overview.deployments.map((line) => [line.name, line]));
  for (const name of gone) lines.delete(name);
  for (const line of deployments) lines.set(line.name, line);
  return { ...head, deployments: [...lines.values()] };
}
