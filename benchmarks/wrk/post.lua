-- 1 KiB of JSON, a list of short records. A number in it differs from one request to the next.

local SIZE = 1024

local head, tail
local number = 10000000 -- of constant length

function init()
   local items = {}
   local first = '{"number":' .. number .. ',"items":['
   local item = '{"id":17,"name":"widget","price":9.95,"tags":["a","b"]}'
   local length = #first + #"]}"
   while length + #item + 1 < SIZE do
      items[#items + 1] = item
      length = length + #item + 1
   end
   local body = first .. table.concat(items, ",") .. "]"
   body = body .. string.rep(" ", SIZE - #body - 1) .. "}"

   wrk.headers["Content-Type"] = "application/json"
   local whole = wrk.format("POST", nil, nil, body)
   local begins, ends = string.find(whole, tostring(number), 1, true)
   head = string.sub(whole, 1, begins - 1)
   tail = string.sub(whole, ends + 1)
end

function request()
   number = number + 1
   return head .. number .. tail
end
