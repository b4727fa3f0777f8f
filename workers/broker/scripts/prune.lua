-- Drops consumers that own nothing and were silent for long, or every killed worker leaves one for ever.
-- KEYS: jobs. ARGV: group, idle ms, consumer to keep. Returns the number dropped.
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then
  return 0
end
local dropped = 0
for _, pairs_of in ipairs(consumers) do
  local consumer = {}
  for i = 1, #pairs_of, 2 do
    consumer[pairs_of[i]] = pairs_of[i + 1]
  end
  if consumer.pending == 0 and consumer.idle > tonumber(ARGV[2]) and consumer.name ~= ARGV[3] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
    dropped = dropped + 1
  end
end
return dropped
