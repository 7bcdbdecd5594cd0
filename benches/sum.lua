-- The load: sum(1, 2). The request is static: a `request` or `response` function here would slow wrk down.
wrk.method, wrk.body = "POST", '{"a":1,"b":2}'
wrk.headers["content-type"] = "application/json"
wrk.headers["x-api-key"] = os.getenv("BENCH_KEY")

-- One line for compare.py; times in microseconds. `status` counts answers of 400 and above.
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('RESULT {"requests":%d,"us":%d,"p50":%d,"p99":%d,"status":%d,"socket":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), e.status,
    e.connect + e.read + e.write + e.timeout))
end
