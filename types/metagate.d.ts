// The module `metagate` of functions in Node. The worker provides it: there is nothing to install.

/** What the functions of a deployment know of the HTTP request that called them. */
export interface CallRequest {
  /** The id in `x-request-id` and in the logs. */
  readonly id: string;
  readonly method: string;
  /** The path as the caller wrote it, such as `/local/shop/v1/call/order`. */
  readonly path: string;
  /** The part of `path` that belongs to the gateway, such as `/local/shop/v1/call`. */
  readonly base: string;
  readonly query: URLSearchParams;
  readonly headers: Headers;
  /** The address of the caller. */
  readonly client: string;
  readonly scheme: 'http' | 'https';
  readonly host: string;
  /** When the gateway gives the call up. */
  readonly deadline: Date | undefined;
  /** What plugins share with functions, such as the identity of the caller; in calls by MCP clients also `mcp`. */
  readonly context: Record<string, any>;
  /** Fires when the caller has left or the call has timed out. */
  readonly signal: AbortSignal;
}

/** The request of the call that runs. Throws an error outside a call. */
export function request(): CallRequest;

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Writes a line of JSON with the ids of the request and of its trace to the log of the deployment. */
export function log(message: unknown, fields?: Record<string, unknown>): void;
export function log(level: LogLevel, message: unknown, fields?: Record<string, unknown>): void;

declare const WebResponse: typeof globalThis.Response;
declare const WebFile: typeof globalThis.File;

/** The answer of a call with a status, headers and a body of its own: the `Response` of the Web. */
export { WebResponse as Response, WebFile as File };
export type Response = globalThis.Response;
export type File = globalThis.File;
