-- Records that a suspect is about to run. KEYS: jobs, starts. ARGV: group, consumer, id.
-- Returns the number of starts recorded without an end, or -1 when the entry is not the caller's any more.
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if pending.err or #pending == 0 or pending[1][2] ~= ARGV[2] then
  return -1
end
return redis.call('HINCRBY', KEYS[2], ARGV[3], 1)
