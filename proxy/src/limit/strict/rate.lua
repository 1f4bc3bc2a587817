-- A rate limit's bucket, shared by all proxies: GCRA as a level that leaks.
--   KEYS  1 the bucket, 2 since when this server's memory is whole
--   ARGV  1 requests, 2 window (µs), 3 burst, 4 units wanted, 5 units given back, 6 units owed
-- Answers { granted, level (µs), wait (µs), age (µs), born (µs since the epoch) }.
-- The level is the time until the bucket is full again; it is kept as "level at", for no longer.
-- A bucket that is not kept is full: who asks mistrusts that for a while after `born`.
-- `now` and `born` come from born.lua.
local step = ARGV[2] / ARGV[1]
local capacity = step * ARGV[3]
local level = 0
local kept = redis.call('GET', KEYS[1])
if kept then
  local was, at = string.match(kept, '^(%S+) (%S+)$')
  level = math.max(0, was - math.max(0, now - at))
end
level = math.max(0, level - ARGV[5] * step)
level = math.min(level + ARGV[6] * step, 2 * capacity)
local granted = math.floor((capacity - level) / step + 1e-9)
granted = math.max(0, math.min(granted, tonumber(ARGV[4])))
level = level + granted * step
redis.call('SET', KEYS[1], string.format('%.17g %.0f', level, now),
  'PX', string.format('%.0f', math.ceil(level / 1000) + 1000))
local wait = math.max(0, math.ceil(level + step - capacity))
return { granted, math.ceil(level), wait, now - born, born }
