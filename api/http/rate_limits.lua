-- A token bucket as one number: when it would be full again. Takes tokens, or says how long to wait for one.
--
-- KEYS  the bucket
-- ARGV  tokens a second, the most that it holds, the most to take: never more than a tenth of what it has, but at least one
-- -> how many were taken, tokens left, milliseconds until there is one, milliseconds until it is full

local rate, most, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local before = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
count = math.max(1, math.min(count, math.floor((most - (before - now) * rate) / 10)))
local full_at = before + count / rate
local wait_s = full_at - now - most / rate

if wait_s > 0.000001 then
  return { 0, 0, math.ceil(wait_s * 1000), math.ceil((before - now) * 1000) }
end
redis.call('SET', KEYS[1], string.format('%.6f', full_at), 'PX', math.ceil((full_at - now) * 1000) + 1000)
return { count, math.floor(-wait_s * rate + 0.001), 0, math.ceil((full_at - now) * 1000) }
