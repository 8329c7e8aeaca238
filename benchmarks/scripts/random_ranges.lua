-- 4 KiB from anywhere in a file of 1 GiB, each range once. Every offset has nine
-- digits, so that every response has the same length.
local FIRST, COUNT = 100000000, 900000000
local STEP = 556230577 -- no factor in common with COUNT: it comes round to each
local start = "GET " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.headers["Host"]
local at = SEED * 104729 % COUNT

function request()
  at = (at + STEP) % COUNT
  local first = FIRST + at
  return string.format("%s\r\nRange: bytes=%d-%d\r\n\r\n", start, first, first + 4095)
end
