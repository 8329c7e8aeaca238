-- The end of every script: what wrk counted, as one line of JSON.
function done(summary, latency, requests)
  local function number(value) return string.format("%.0f", value) end
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%s,"bytes":%s,"duration_us":%s,'
      .. '"p50_us":%s,"p99_us":%s,"p99_9_us":%s,'
      .. '"connect":%s,"read":%s,"write":%s,"status":%s,"timeout":%s}\n',
    number(summary.requests), number(summary.bytes), number(summary.duration),
    number(latency:percentile(50)), number(latency:percentile(99)),
    number(latency:percentile(99.9)),
    number(errors.connect), number(errors.read), number(errors.write),
    number(errors.status), number(errors.timeout)))
end
