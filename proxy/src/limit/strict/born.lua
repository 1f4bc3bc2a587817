-- Begins the scripts of limits: the time, and since when this server's memory is whole (KEYS[2]);
-- both in microseconds since the epoch.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local born = tonumber(redis.call('GET', KEYS[2]) or nil)
if not born then
  born = now
  redis.call('SET', KEYS[2], string.format('%.0f', now))
end
