/** How a client reaches the gateway. */
export interface ClientOptions {
  /** The address of the gateway, such as `https://functions.example.com`. */
  url: string;
  /** Headers of every request, such as `authorization`. */
  headers?: Record<string, string> | undefined;
  /** Milliseconds that a call may take, and that a stream may be silent. */
  timeout?: number | undefined;
  /** Ends the calls of the client. */
  signal?: AbortSignal | undefined;
  /** What sends requests, in place of the global `fetch`. */
  fetch?: typeof fetch | undefined;
}

/** An answer that is no result. */
export class CallError extends Error {
  override readonly name: string = "CallError";
  /** The status of the answer: 200 where a stream failed after its begin. */
  readonly status: number;
  /** What has happened, for programs: `bad_argument`, `function_error`, … */
  readonly code: string;
  /** The id of the request, by which the gateway's logs find it. */
  readonly requestId: string | undefined;
  /** The argument that does not fit: its name, or its position from 1. */
  readonly argument: string | number | undefined;
  /** The place inside the argument, such as `.items[1].price`. */
  readonly path: string | undefined;
  /** What fits there. */
  readonly expected: string | undefined;
  /** What the function attached to its error. */
  readonly payload: unknown;
  /** Seconds after which another call may succeed. */
  readonly retryAfter: number | undefined;
  /** The body of the answer. */
  readonly body: string;

  constructor(status: number, headers: Headers, body: string) {
    const error = $error(body);
    const message = error["message"];
    super(typeof message === "string" ? message : `the answer has status ${status}`);
    const text = (key: string): string | undefined => {
      const value = error[key];
      return typeof value === "string" ? value : undefined;
    };
    const argument = error["argument"];
    const seconds = Number.parseInt(headers.get("retry-after") ?? "", 10);
    this.status = status;
    this.code = text("code") ?? headers.get("x-metagate-error") ?? "unknown";
    this.requestId = text("request_id") ?? headers.get("x-request-id") ?? undefined;
    this.argument = typeof argument === "number" ? argument : text("argument");
    this.path = text("path");
    this.expected = text("expected");
    this.payload = error["payload"];
    this.retryAfter = Number.isNaN(seconds) ? undefined : seconds;
    this.body = body;
  }
}

/** The `error` of an answer. */
function $error(body: string): Record<string, unknown> {
  try {
    const error: unknown = (JSON.parse(body) as { error?: unknown } | null)?.error;
    return typeof error === "object" && error !== null ? { ...error } : {};
  } catch {
    return {};
  }
}

/** Arguments that are not given by order. */
interface $More {
  rest?: readonly [string, readonly unknown[] | undefined];
  named?: object;
  form?: true;
}

/** The body with these arguments: in order, or by name where the order has gaps. */
function $body(
  keys: readonly string[] | null,
  values: readonly unknown[],
  more: $More = {},
): string | FormData {
  const [restKey = "", rest = []] = more.rest ?? [];
  let count = values.length;
  while (rest.length === 0 && count > 0 && values[count - 1] === undefined) count -= 1;
  const given = values.slice(0, count);
  const hasGap = keys !== null && given.includes(undefined);
  if (!hasGap && more.named === undefined && more.form === undefined) {
    return $json([...given, ...rest]);
  }
  const entries: [string, unknown][] = given.map((value, at) => [keys?.[at] ?? "", value]);
  if (rest.length > 0) entries.push([restKey, rest]);
  entries.push(...Object.entries(more.named ?? {}));
  return more.form === undefined ? $object(entries) : $form(entries);
}

/** A value as JSON: bytes in base64, whole numbers with all their digits. */
function $json(value: unknown): string {
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new TypeError(`${value} has no form in JSON`);
  }
  if (value instanceof Uint8Array) return `"${$base64(value)}"`;
  if (Array.isArray(value)) return `[${value.map((one) => $json(one ?? null)).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const toJSON: unknown = (value as { toJSON?: unknown }).toJSON;
    if (typeof toJSON === "function") return $json(toJSON.call(value));
    return $object(Object.entries(value));
  }
  const text: string | undefined = JSON.stringify(value);
  if (text === undefined) throw new TypeError(`a ${typeof value} has no form in JSON`);
  return text;
}

function $object(entries: readonly [string, unknown][]): string {
  const given = entries.filter(([, value]) => value !== undefined);
  return `{${given.map(([key, value]) => `${JSON.stringify(key)}:${$json(value)}`).join(",")}}`;
}

function $base64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(text);
}

/** A form with these fields: files as they are, `a[b]` for the fields of an object. */
function $form(entries: readonly [string, unknown][]): FormData {
  const form = new FormData();
  const add = (key: string, value: unknown): void => {
    if (value instanceof Blob) form.append(key, value);
    else if (value instanceof Uint8Array) form.append(key, new Blob([new Uint8Array(value)]));
    else if (Array.isArray(value)) for (const one of value) add(key, one);
    else if (value instanceof Date) form.append(key, value.toJSON());
    else if (typeof value === "object" && value !== null) {
      for (const [inner, one] of Object.entries(value)) add(`${key}[${inner}]`, one);
    } else if (value !== undefined && value !== null) form.append(key, String(value));
  };
  for (const [key, value] of entries) add(key, value);
  return form;
}

async function $send(
  options: ClientOptions,
  address: string,
  body: string | FormData,
  accept: string,
  signal: AbortSignal | null,
): Promise<Response> {
  const headers = new Headers(options.headers);
  headers.set("accept", accept);
  if (typeof body === "string") headers.set("content-type", "application/json");
  const url = options.url.replace(/\/+$/, "") + $base + address;
  const send = options.fetch ?? fetch;
  const response = await send(url, { method: "POST", headers, body, signal });
  if (!response.ok) throw new CallError(response.status, response.headers, await response.text());
  return response;
}

/** Calls a function, and returns its result: JSON, text, bytes, or `null` for none. */
async function $call<T>(
  options: ClientOptions,
  address: string,
  body: string | FormData,
): Promise<T> {
  const signals = options.signal === undefined ? [] : [options.signal];
  if (options.timeout !== undefined) signals.push(AbortSignal.timeout(options.timeout));
  const signal = signals.length > 0 ? AbortSignal.any(signals) : null;
  const response = await $send(options, address, body, "application/json", signal);
  return (await $read(response)) as T;
}

async function $read(response: Response): Promise<unknown> {
  const kind = response.headers.get("content-type") ?? "";
  if (/^application\/([\w.-]+\+)?json\b/.test(kind) || kind.startsWith("text/")) {
    const text = await response.text();
    if (kind.startsWith("text/")) return text;
    return text === "" ? null : JSON.parse(text);
  }
  const bytes = new Uint8Array(await response.arrayBuffer());
  return bytes.length === 0 ? null : bytes;
}

/** Calls a function, and gives the items of its stream as they come. */
async function* $stream<T>(
  options: ClientOptions,
  address: string,
  body: string | FormData,
): AsyncGenerator<T, void, undefined> {
  const silence = new AbortController();
  const within = async <V>(step: (signal: AbortSignal) => Promise<V>): Promise<V> => {
    const end = (): void => silence.abort(new DOMException("no item came in time", "TimeoutError"));
    const timer = options.timeout === undefined ? undefined : setTimeout(end, options.timeout);
    const { signal } = silence;
    return step(options.signal ? AbortSignal.any([options.signal, signal]) : signal).finally(() =>
      clearTimeout(timer),
    );
  };
  const accept = "text/event-stream";
  const response = await within((signal) => $send(options, address, body, accept, signal));
  if (!(response.headers.get("content-type") ?? "").startsWith(accept)) {
    const whole = await within(() => $read(response));
    yield* (Array.isArray(whole) ? whole : [whole]) as T[];
    return;
  }
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    while (reader !== undefined) {
      const { done, value } = await within(() => reader.read());
      if (done) return;
      const seen = Math.max(text.length - 1, 0);
      text += decoder.decode(value, { stream: true });
      for (let end = text.indexOf("\n\n", seen); end >= 0; end = text.indexOf("\n\n")) {
        const event = text.slice(0, end).split("\n");
        text = text.slice(end + 2);
        const data = event.find((line) => line.startsWith("data: "))?.slice("data: ".length);
        if (data === undefined) continue;
        if (event.includes("event: error")) {
          throw new CallError(response.status, response.headers, data);
        }
        yield JSON.parse(data) as T;
      }
    }
  } finally {
    await reader?.cancel().catch(() => undefined);
  }
}
