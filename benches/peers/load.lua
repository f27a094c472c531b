-- Tracks with a messageId of their own, for wrk: one a request, or BATCH=100 of them.
--   wrk -t1 -c64 -d8s --latency -s load.lua http://127.0.0.1:8080/v1/track
--   BATCH=100 wrk -t1 -c16 -d8s --latency -s load.lua http://127.0.0.1:8080/v1/batch
-- KEY is the write key; LINES=1 sends events one behind the other without the frame of a batch, for receivers that know none.
local key = os.getenv("KEY") or "bench"
local batch = tonumber(os.getenv("BATCH") or "1")
local bare = os.getenv("LINES") ~= nil

local function base64(text)
  local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  local out = {}
  for at = 1, #text, 3 do
    local a, b, c = text:byte(at, at + 2)
    local bits = a * 65536 + (b or 0) * 256 + (c or 0)
    for shift = 3, 0, -1 do
      local past = (shift == 1 and not b) or (shift == 0 and not c)
      local digit = math.floor(bits / 64 ^ shift) % 64
      out[#out + 1] = past and "=" or alphabet:sub(digit + 1, digit + 1)
    end
  end
  return table.concat(out)
end

local front = [[{"type":"track","event":"Product Viewed","messageId":"peer-]]
local back = [[","anonymousId":"5f0c1a52-4f0e-4f7b-9d55-6f1f6b1c9a01","userId":"user-4711","timestamp":"2026-11-23T10:00:00.000Z","context":{"library":{"name":"analytics.js","version":"3.0.1"},"locale":"en-IE","timezone":"Europe/Dublin","userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36","page":{"path":"/mugs/harbour-mug","title":"Harbour mug - the shop by the sea","url":"https://shop.example/mugs/harbour-mug?utm_source=newsletter","referrer":"https://www.example.com/search?q=mug","search":"?utm_source=newsletter"},"campaign":{"source":"newsletter","medium":"email"}},"properties":{"product_id":"p-1017","sku":"HM-1017-B","name":"Harbour mug","category":"kitchen","brand":"Tide","variant":"blue","price":14.5,"quantity":1,"currency":"EUR","position":3,"in_stock":true},"integrations":{}}]]

local count, thread = 0, 0
local threads = 0

function setup(t)
  t:set("number", threads)
  threads = threads + 1
end

function init()
  thread = (number or 0) * 1000000000 + os.time() % 100000 * 10000000000
  wrk.headers["content-type"] = "application/json"
  wrk.headers["authorization"] = "Basic " .. base64(key .. ":")
end

local function event()
  count = count + 1
  return front .. string.format("%.0f", thread + count) .. back
end

function request()
  if batch == 1 then return wrk.format("POST", nil, nil, event()) end
  local events = {}
  for at = 1, batch do events[at] = event() end
  local list = "[" .. table.concat(events, ",") .. "]"
  return wrk.format("POST", nil, nil, bare and list or '{"batch":' .. list .. "}")
end
