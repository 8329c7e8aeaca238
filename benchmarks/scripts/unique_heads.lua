-- Heads of browsers behind a CDN: no two are the same, in a run or between runs.
math.randomseed(SEED)

local function choose(list) return list[math.random(#list)] end

local systems = {
  "Windows NT 10.0; Win64; x64", "X11; Linux x86_64", "X11; Ubuntu; Linux x86_64",
  "Macintosh; Intel Mac OS X 10_15_7", "Linux; Android 14; Pixel 8",
  "Linux; Android 13; SM-S911B",
}
local engines = {
  function(system, version)
    return "Mozilla/5.0 (" .. system .. ") AppleWebKit/537.36 (KHTML, like Gecko) "
      .. "Chrome/" .. version .. ".0.0.0 Safari/537.36"
  end,
  function(system, version)
    return "Mozilla/5.0 (" .. system .. ") AppleWebKit/537.36 (KHTML, like Gecko) "
      .. "Chrome/" .. version .. ".0.0.0 Safari/537.36 Edg/" .. version .. ".0.0.0"
  end,
  function(system, version)
    return "Mozilla/5.0 (" .. system .. "; rv:" .. version .. ".0) Gecko/20100101 "
      .. "Firefox/" .. version .. ".0"
  end,
  function(_, version)
    return "Mozilla/5.0 (iPhone; CPU iPhone OS 17_" .. version % 7
      .. " like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17."
      .. version % 7 .. " Mobile/15E148 Safari/604.1"
  end,
}
local agents = {}
for version = 90, 145 do
  for _, system in ipairs(systems) do
    for _, engine in ipairs(engines) do
      agents[#agents + 1] = engine(system, version)
    end
  end
end
local accepted = {
  "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
  "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "*/*",
}
local languages = {
  "en-US,en;q=0.9", "de-DE,de;q=0.9,en;q=0.6", "fr,fr-FR;q=0.8,en-US;q=0.5",
  "ja,en-US;q=0.9", "pt-BR,pt;q=0.9,en;q=0.8",
}
local start = "GET " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.headers["Host"]
local run = string.format("%08x", SEED * 2654435761 % 4294967296)
local count = 0

function request()
  count = count + 1
  local random = math.random
  return table.concat({
    start,
    "\r\nConnection: keep-alive\r\nUser-Agent: ", choose(agents),
    "\r\nAccept: ", choose(accepted),
    "\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: ", choose(languages),
    "\r\nReferer: https://static.example.com/articles/", random(100000), "/", count,
    "\r\nCookie: session=", run, string.format("%08x%08x", count, random(2147483647)),
    "; theme=dark",
    "\r\nX-Forwarded-For: 203.0.", random(255), ".", random(255),
    "\r\nX-Request-Id: ", string.format("%08x-%s-%08x", random(2147483647), run, count),
    "\r\nSec-Fetch-Dest: empty\r\nSec-Fetch-Mode: no-cors",
    "\r\nSec-Fetch-Site: same-origin\r\n\r\n",
  })
end
