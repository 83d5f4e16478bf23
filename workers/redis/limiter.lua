-- The budget of one Stripe account. One call takes a token from both of its buckets, or cuts one of them.
-- limiter.py explains the rules; this file applies them.
--
-- KEYS     the account's bucket, the endpoint's bucket
-- reserve  ARGV: "reserve", now, configured rates of both, seconds of burst, seconds of reach, how many at most
--          -> granted (how many, or 0), wait in microseconds, rate in thousandths of a request/s, free tokens
-- cut      ARGV: "cut", now, configured rates of both, which bucket (1 or 2), share to cut
--          -> 1, or 0 if that bucket was cut less than a second ago
-- look     KEYS: the account's bucket, then endpoints' buckets. ARGV: "look", now, configured rates, seconds of burst
--          -> for each: rate, tokens and requests/s lately in thousandths, milliseconds since the last cut (-1: none)
--             Writes nothing.
-- Rates are requests a second. Times are seconds of Redis' clock, because hosts' clocks differ. `now` is only set in
-- tests.

local CUT_EVERY_S = 1
local LOWEST_SHARE = 0.02 -- of the configured rate: what cuts never go below
local FIRST_CALM_S = 2.5 -- from a cut halfway back; all the way takes twice as long, at most three times
local LONGEST_CALM_S = 10 -- it doubles up to this with each cut that follows soon, so that probing stays under 1% of 429s
local REMEMBER_S = 40 -- a cut within this of the last one follows soon: longer than the longest way back
local BREATH_S = 2.5 -- times the share: so long nothing is handed out after a cut, and Stripe's bucket gets some air
local LONGEST_LINE_S = 10
local EXPIRY_MS = 60000 -- by then a bucket would be full and uncut anyway
local LATELY_S = 5 -- over about so long requests are averaged, for people to look at; older ones count ever less
local FIELDS = { 'tokens', 'at', 'line', 'cut_at', 'low', 'level', 'calm_s', 'through', 'lately' }

local function clock(given)
  if given ~= '' then
    return tonumber(given)
  end
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

-- Steep from `low` to `level`, flat around `level`, then ever steeper. Back at the configured rate after 3 * calm_s.
local function rate_at(bucket, configured, now)
  if not bucket.cut_at or now < bucket.cut_at then
    return configured
  end
  local way = (now - bucket.cut_at) / bucket.calm_s - 1
  local around = (bucket.level - bucket.low) * way ^ 3
  local beyond = (configured - bucket.level) * math.max(0, way - 1) ^ 3
  return math.min(configured, bucket.level + around + beyond)
end

local function open(key, configured, now)
  local bucket = { key = key }
  local saved = redis.call('HMGET', key, unpack(FIELDS))
  for index, field in ipairs(FIELDS) do
    bucket[field] = tonumber(saved[index] or nil)
  end
  bucket.through = bucket.through or 0
  bucket.rate = rate_at(bucket, configured, now)
  return bucket
end

local function save(bucket)
  local values = {}
  for _, field in ipairs(FIELDS) do
    if bucket[field] then
      values[#values + 1] = field
      values[#values + 1] = string.format('%.6f', bucket[field]) -- Lua's own text of a time stops at 0.1 ms
    end
  end
  redis.call('HSET', bucket.key, unpack(values))
  redis.call('PEXPIRE', bucket.key, EXPIRY_MS)
end

local function fade(bucket, now)
  local elapsed = math.max(0, now - (bucket.at or now))
  bucket.lately = (bucket.lately or 0) * math.exp(-elapsed / LATELY_S)
  return elapsed
end

local function refill(bucket, burst_s, now)
  local most = math.max(1, bucket.rate * burst_s)
  local elapsed = fade(bucket, now)
  bucket.tokens = math.min(most, (bucket.tokens or most) + bucket.rate * elapsed)
  bucket.at = now
end

local function wait_of(bucket)
  return math.max(0, (1 - bucket.tokens) / bucket.rate)
end

local function take(bucket, count)
  bucket.tokens = bucket.tokens - count
  bucket.through = bucket.through + count
  bucket.lately = bucket.lately + count / LATELY_S
  save(bucket)
end

-- The next place in the line of callers that were sent away. Places follow each other at the bucket's rate, so callers
-- return in turn and not all at once.
local function place_in_line(bucket, room_s, now)
  local place = math.max(bucket.line or 0, now + room_s) + 1 / bucket.rate
  bucket.line = math.min(place, now + LONGEST_LINE_S)
  save(bucket)
  return bucket.line - now
end

-- Grants more than one token only of what is free right now, and at most half of it: others may want some too.
local function reserve(account, endpoint, burst_s, reach_s, most, now)
  refill(account, burst_s, now)
  refill(endpoint, burst_s, now)
  local tight = wait_of(account) > wait_of(endpoint) and account or endpoint
  local granted, wait_s = 1, wait_of(tight)
  if wait_s > reach_s then
    granted, wait_s = 0, place_in_line(tight, wait_s - reach_s, now)
  else
    local free = math.min(account.tokens, endpoint.tokens)
    granted = math.max(1, math.min(most, math.floor(free / 2)))
    take(account, granted)
    take(endpoint, granted)
  end
  local rate = math.min(account.rate, endpoint.rate)
  local tokens = math.max(0, math.min(account.tokens, endpoint.tokens))
  return { granted, math.ceil(wait_s * 1000000), math.floor(rate * 1000), math.floor(tokens) }
end

local function cut(bucket, configured, share, now)
  bucket.through = bucket.through - 1 -- each call is a request that was turned away
  if bucket.cut_at and math.abs(now - bucket.cut_at) < CUT_EVERY_S then
    save(bucket)
    return 0
  end
  local level, calm_s = bucket.rate * (1 - share / 2), FIRST_CALM_S
  if bucket.cut_at and math.abs(now - bucket.cut_at) < REMEMBER_S then
    -- Stripe's bucket was empty then and is empty now. What got through in between is what Stripe allows us.
    local through = bucket.through / math.abs(now - bucket.cut_at)
    level = math.min(level, math.max(through, bucket.rate * (1 - 2 * share)))
    calm_s = math.min(LONGEST_CALM_S, bucket.calm_s * 2)
  end
  bucket.level = math.max(level, configured * LOWEST_SHARE)
  bucket.low = bucket.level * (1 - share) / (1 - share / 2)
  bucket.calm_s = calm_s
  bucket.cut_at = now
  bucket.through = 0
  bucket.tokens = math.min(bucket.tokens or 0, -BREATH_S * share * bucket.low)
  fade(bucket, now)
  bucket.at = now
  save(bucket)
  return 1
end

local function look(bucket, burst_s, now)
  refill(bucket, burst_s, now)
  local cut_ms = bucket.cut_at and math.max(0, math.floor((now - bucket.cut_at) * 1000)) or -1
  return { math.floor(bucket.rate * 1000), math.floor(bucket.tokens * 1000), math.floor(bucket.lately * 1000 + 0.5), cut_ms }
end

local now = clock(ARGV[2])
local rates = { tonumber(ARGV[3]), tonumber(ARGV[4]) }
if ARGV[1] == 'look' then
  local found = {}
  for index, key in ipairs(KEYS) do
    found[index] = look(open(key, rates[math.min(index, 2)], now), tonumber(ARGV[5]), now)
  end
  return found
end
if ARGV[1] == 'reserve' then
  local account, endpoint = open(KEYS[1], rates[1], now), open(KEYS[2], rates[2], now)
  return reserve(account, endpoint, tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), now)
end
local which = tonumber(ARGV[5])
return cut(open(KEYS[which], rates[which], now), rates[which], tonumber(ARGV[6]), now)
