-- Moves delayed messages whose time has come onto the jobs stream, oldest first.
-- KEYS: delayed, jobs. ARGV: at most this many. Returns the number moved.
-- One clock decides: the server's, which also scored them (delay.lua).
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local members = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, member in ipairs(members) do
  redis.call('XADD', KEYS[2], '*', 'm', string.sub(member, 17))
  redis.call('ZREM', KEYS[1], member)
end
return #members
