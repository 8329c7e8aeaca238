-- Files by Zipf's law with s = 1: the one of rank k is asked for 1/k as often as
-- the first. Chosen by Walker's alias method, so that choosing costs the same.
math.randomseed(SEED)

local FILES = 100000
local start = "GET /zipf/"
local rest = " HTTP/1.1\r\nHost: " .. wrk.headers["Host"] .. "\r\n\r\n"

local total = 0
for rank = 1, FILES do total = total + 1 / rank end
local share, other, small, large = {}, {}, {}, {}
for rank = 1, FILES do
  share[rank] = FILES / rank / total
  local list = share[rank] < 1 and small or large
  list[#list + 1] = rank
end
while #small > 0 and #large > 0 do
  local less, more = table.remove(small), large[#large]
  other[less] = more
  share[more] = share[more] + share[less] - 1
  if share[more] < 1 then
    small[#small + 1] = table.remove(large)
  end
end

function request()
  local rank = math.random(FILES)
  if math.random() >= share[rank] and other[rank] then rank = other[rank] end
  local number = rank - 1
  return string.format(
    "%s%02d/%05d.bin%s", start, math.floor(number / 1000), number, rest)
end
