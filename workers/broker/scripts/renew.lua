-- Renews the entries this consumer still owns and returns the ids of those it owns no more.
-- KEYS: jobs. ARGV: group, consumer, ids...
-- A plain XCLAIM would steal back what another worker took while this one was paused.
local lost = {}
for i = 3, #ARGV do
  local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if pending.err or #pending == 0 or pending[1][2] ~= ARGV[2] then
    lost[#lost + 1] = ARGV[i]
  else
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
  end
end
return lost
