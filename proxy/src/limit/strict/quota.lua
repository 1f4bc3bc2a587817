-- A quota's units used in one month, shared by all proxies.
--   KEYS  1 the counter, 2 since when this server's memory is whole
--   ARGV  1 limit, 2 units wanted, 3 units given back, 4 units owed,
--         5 units used as far as who asks knows, 6 how long to keep it (ms)
-- Answers { granted, units used, wait (µs), age (µs), born (µs since the epoch) }.
-- While this server's memory is young, or knows nothing of the counter, it learns from those who
-- ask; what they know contains what they owe.
-- `now` and `born` come from born.lua.
local kept = tonumber(redis.call('GET', KEYS[1]) or nil)
local used = math.max(0, (kept or 0) - ARGV[3])
if not kept or now - born < 60000000 then
  used = math.max(used, tonumber(ARGV[5]))
else
  used = used + ARGV[4]
end
local granted = math.max(0, math.min(ARGV[1] - used, tonumber(ARGV[2])))
used = used + granted
redis.call('SET', KEYS[1], string.format('%.0f', used), 'PX', ARGV[6])
return { granted, used, 100000, now - born, born }
