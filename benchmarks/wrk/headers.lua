-- What a browser sends: 20 header fields. Some differ from one request to the next, and no two
-- requests are the same bytes, so that no cache of whole heads could serve them.

local head, middle, tail
local number = 0

function init()
   head = "GET / HTTP/1.1\r\n"
      .. "Host: " .. wrk.headers["Host"] .. "\r\n"
      .. "Connection: keep-alive\r\n"
      .. "Cache-Control: max-age=0\r\n"
      .. 'sec-ch-ua: "Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99"\r\n'
      .. "sec-ch-ua-mobile: ?0\r\n"
      .. 'sec-ch-ua-platform: "Linux"\r\n'
      .. "Upgrade-Insecure-Requests: 1\r\n"
      .. "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
      .. "Chrome/124.0.0.0 Safari/537.36\r\n"
      .. "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
      .. "*/*;q=0.8\r\n"
      .. "Sec-Fetch-Site: same-origin\r\n"
      .. "Sec-Fetch-Mode: navigate\r\n"
      .. "Sec-Fetch-User: ?1\r\n"
      .. "Sec-Fetch-Dest: document\r\n"
      .. "Accept-Encoding: gzip, deflate, br, zstd\r\n"
      .. "Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n"
      .. "DNT: 1\r\n"
      .. "Priority: u=0, i\r\n"
      .. "Referer: http://" .. wrk.headers["Host"] .. "/articles/"
   middle = "\r\n"
      .. "X-Request-ID: 7b0c2f4e-9d1a-4c55-8f2e-"
   tail = "\r\n"
      .. "Cookie: theme=dark; consent=yes; session=3f9a1c5e7b2d4860a1c3e5f7092b4d6"
end

function request()
   number = number + 1
   return head .. number .. middle .. number .. tail .. number .. "\r\n\r\n"
end
