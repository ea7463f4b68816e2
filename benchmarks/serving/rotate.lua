-- Arguments: a file with one body a line, a content type. The bodies follow each other; the figures go out as one line of JSON.
local requests, turn = {}, 0

function init(arguments)
  local headers = { ["Content-Type"] = arguments[2] or "application/json" }
  for body in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, headers, body)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local wrong = summary.errors
  local bad = wrong.connect + wrong.read + wrong.write + wrong.status + wrong.timeout
  local figures = '{"count":%d,"seconds":%.6f,"p50":%.4f,"p99":%.4f,"bad":%d}\n'
  local p50, p99 = latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
  io.write(string.format(figures, summary.requests, summary.duration / 1e6, p50, p99, bad))
end
