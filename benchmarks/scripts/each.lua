-- Each of 100,000 files once, and then again.
local COUNT = 100000
local number = COUNT - 1

function request()
  number = (number + 1) % COUNT
  return string.format(
    "GET /zipf/%02d/%05d.bin HTTP/1.1\r\nHost: %s\r\n\r\n",
    math.floor(number / 1000), number, wrk.headers["Host"])
end
