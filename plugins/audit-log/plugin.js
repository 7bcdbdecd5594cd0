// The plugin audit-log: one JSON line in the gateway's log for each call, with who called what and how it ended, and
// counters of calls and failures.
//
// The before-hook notes the parts of the call that later plugins may change; the after-hook writes the line.

import { now } from "metagate:plugin/clock@0.1.0";
import { write } from "metagate:plugin/log@0.1.0";
import { add } from "metagate:plugin/metrics@0.1.0";
import { redacted } from "./redact.js";
import { schema } from "./schema.js";

// The key of the call's context under which the before-hook leaves its note for the after-hook.
const NOTE = "note";

// The maximum length of a header's value in characters; the rest is left out.
const HEADER_LENGTH = 1024;

// The settings, with the defaults of the schema. `start` sets them.
let settings;

export const lifecycle = {
  configSchema() {
    return JSON.stringify(schema);
  },

  start(config) {
    const given = JSON.parse(config);
    settings = {};
    for (const [key, property] of Object.entries(schema.properties)) settings[key] = given[key] ?? property.default;
  },
};

// It ends no call with an error.
export const declarations = {
  refusals() {
    return [];
  },

  securitySchemes() {
    return [];
  },
};

export const beforeInvoke = {
  beforeInvoke(call) {
    if (settings.include_arguments || settings.headers.length > 0) {
      try {
        call.setContext(NOTE, JSON.stringify(note(call)), false);
      } catch (error) {
        // The after-hook then uses the call as it is; no call fails because of its note.
        write("warn", `the note of call ${call.id()} is not kept: ${error.payload ?? error}`);
      }
    }
    return { tag: "proceed" };
  },
};

export const afterInvoke = {
  afterInvoke(call, outcome) {
    const noted = call.context(NOTE);
    const elapsed = milliseconds(outcome.elapsed());
    const status = outcome.status();
    const line = {
      event: "call",
      time: new Date(Number(now()) - elapsed).toISOString(),
      id: call.id(),
      deployment: call.deployment(),
      version: call.version(),
      function: call.function(),
      method: call.method(),
      peer: call.peer(),
      caller: parsed(call.context("caller")),
      source: outcome.source(),
      status,
      code: outcome.code(),
      elapsed_ms: elapsed,
      worker_ms: milliseconds(outcome.inWorker()),
      // Without the before-hook, as with `hooks = ["after-invoke"]`, the note shows the call as the other plugins left
      // it.
      ...(noted === undefined ? note(call) : exact(noted)),
    };
    write("info", JSON.stringify(line));
    count("calls");
    if (status >= 500) count("server_errors");
    else if (status >= 400) count("client_errors");
  },
};

// The headers and arguments of a call that the settings select.
function note(call) {
  const noted = {};
  if (settings.headers.length > 0) {
    noted.headers = {};
    for (const name of settings.headers) {
      const value = call.header(name);
      if (value !== undefined) noted.headers[name] = value.slice(0, HEADER_LENGTH).toWellFormed();
    }
  }
  if (settings.include_arguments) {
    const size = Number(call.argumentsSize());
    if (size <= settings.max_arguments) noted.arguments = redacted(call.arguments(), settings.redact);
    else noted.arguments_size = size;
  }
  return noted;
}

// JSON text as a value whose numbers are written again unchanged.
function exact(json) {
  return redacted(json, []);
}

function parsed(json) {
  return json === undefined ? undefined : JSON.parse(json);
}

function milliseconds(microseconds) {
  return Number(microseconds) / 1000;
}

function count(counter) {
  add(counter, 1n);
}
