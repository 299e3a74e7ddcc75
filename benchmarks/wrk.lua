-- POSTs as many bytes as the first argument says, GETs where that is 0, and ends with what came of it, as a line of JSON.

function init(arguments)
   local size = tonumber(arguments[1])
   if size > 0 then
      wrk.method = "POST"
      wrk.body = string.rep("x", size)
   end
end

function done(summary, latency)
   local of = summary.errors
   print(string.format('{"requests": %d, "bytes": %d, "microseconds": %d, "p50": %d, "p99": %d, "errors": %d}',
      summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
      of.connect + of.read + of.write + of.timeout + of.status))
end
