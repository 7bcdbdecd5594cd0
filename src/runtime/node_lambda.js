// Calls handlers of AWS Lambda: a whole request becomes an event of API Gateway (format 2.0), and the result a
// response. node.js loads this for deployments with `handler = "lambda"`.
'use strict';

const DEFAULT_MS = 30_000; // that a handler has if the call does not say it
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
// Line breaks are passed over, as decoders of mail do.
const BASE64 = /^[A-Za-z0-9+/\r\n]*={0,2}[\r\n]*$/;

// The event of a call: {args: [request, headers], request}.
function eventOf({ args: [{ method, uri, body, base64 }, pairs], request = {} }) {
  const mark = uri.indexOf('?');
  const rawPath = mark === -1 ? uri : uri.slice(0, mark);
  const rawQueryString = mark === -1 ? '' : uri.slice(mark + 1);
  const { cookie, ...headers } = joined(pairs);
  const query = joined(new URLSearchParams(rawQueryString));
  const now = new Date();
  const host = request.host ?? headers.host ?? 'localhost';
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath,
    rawQueryString,
    ...(cookie === undefined ? {} : { cookies: cookie.split(/[;,] */) }),
    headers,
    ...(rawQueryString === '' ? {} : { queryStringParameters: query }),
    requestContext: {
      accountId: 'anonymous',
      apiId: 'metagate',
      domainName: host,
      domainPrefix: host.split('.')[0],
      http: {
        method,
        path: rawPath,
        protocol: 'HTTP/1.1',
        sourceIp: request.client ?? '127.0.0.1',
        userAgent: headers['user-agent'] ?? '',
      },
      requestId: request.id ?? headers['x-request-id'] ?? '',
      routeKey: '$default',
      stage: '$default',
      time: timeText(now),
      timeEpoch: now.getTime(),
    },
    ...(body === undefined && base64 === undefined ? {} : { body: body ?? base64 }),
    isBase64Encoded: base64 !== undefined,
  };
}

// An object of pairs, where several values of a name are joined as API Gateway does. Values of cookies have commas.
function joined(pairs) {
  const object = {};
  for (const [name, value] of pairs) {
    const separator = name === 'cookie' ? '; ' : ',';
    object[name] = Object.hasOwn(object, name) ? object[name] + separator + value : value;
  }
  return object;
}

// 12/Mar/2020:19:03:58 +0000
function timeText(time) {
  const [date, clock] = time.toISOString().split(/[T.]/);
  const [year, month, day] = date.split('-');
  return `${day}/${MONTHS[month - 1]}/${year}:${clock} +0000`;
}

function contextOf({ id, timeout = DEFAULT_MS, request }, name) {
  const end = Date.now() + timeout;
  return {
    functionName: name,
    functionVersion: '$LATEST',
    invokedFunctionArn: `arn:aws:lambda:local:000000000000:function:${name}`,
    memoryLimitInMB: '0',
    awsRequestId: request?.id ?? id,
    logGroupName: `/aws/lambda/${name}`,
    logStreamName: name,
    callbackWaitsForEmptyEventLoop: true,
    getRemainingTimeInMillis: () => Math.max(0, end - Date.now()),
  };
}

// Runs the handler of a call. Resolves to its result.
function run(handler, self, call, name) {
  const event = eventOf(call);
  const context = contextOf(call, name);
  return new Promise((resolve, reject) => {
    const callback = (error, result) => (error ? reject(error) : resolve(result));
    Object.assign(context, { done: callback, succeed: resolve, fail: reject });
    const result = Reflect.apply(handler, self, [event, context, callback]);
    // One that takes the callback may return nothing, or what it has started.
    if (typeof result?.then === 'function') result.then(resolve, reject);
    else if (handler.length < 3 || result !== undefined) resolve(result);
  });
}

// The response that a result stands for: {head: {status, headers}, bytes}. Without a status it is the body.
function responseOf(result) {
  if (result === null || typeof result !== 'object' || result.statusCode === undefined) {
    const text = typeof result === 'string' ? result : JSON.stringify(result ?? null);
    return { head: { status: 200, headers: [['content-type', 'application/json']] }, bytes: Buffer.from(text) };
  }
  const { statusCode, headers, multiValueHeaders, cookies, body, isBase64Encoded } = result;
  const pairs = new Map([...lowerCase(headers), ...lowerCase(multiValueHeaders)]);
  const listed = [...pairs].flatMap(([name, values]) => values.map((value) => [name, String(value)]));
  for (const cookie of listOf(cookies)) listed.push(['set-cookie', String(cookie)]);
  if (!pairs.has('content-type')) listed.push(['content-type', 'application/json']);
  const text = typeof body === 'string' || body === undefined || body === null ? body ?? '' : JSON.stringify(body);
  if (isBase64Encoded === true && !BASE64.test(text)) throw new TypeError('the body of the result is no base64');
  const bytes = Buffer.from(text, isBase64Encoded === true ? 'base64' : 'utf8');
  return { head: { status: Number(statusCode), headers: listed }, bytes };
}

// A text alone is one cookie.
function listOf(cookies) {
  const list = typeof cookies === 'string' ? [cookies] : cookies ?? [];
  if (!Array.isArray(list)) throw new TypeError('"cookies" of the result is no list of texts');
  return list;
}

function lowerCase(headers) {
  const isThere = ([, value]) => value !== undefined && value !== null;
  return Object.entries(headers ?? {}).filter(isThere).map(([name, value]) => [name.toLowerCase(), [value].flat()]);
}

module.exports = { run, responseOf };
