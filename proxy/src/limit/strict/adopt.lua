-- Called once a connection: has the server been replaced or restarted since it was last seen?
--   KEYS  1 since when this server's memory is whole, 2 the server's run
--   ARGV  1 the run that it says it is
-- A server that restarts may come back with old memory, or none: then it is whole from now on.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  local time = redis.call('TIME')
  redis.call('SET', KEYS[1], string.format('%.0f', time[1] * 1000000 + time[2]))
  redis.call('SET', KEYS[2], ARGV[1])
end
return 1
